import { randomUUID } from 'node:crypto';
import { getWebSocketManager } from '@actory/websocket';
import { type Draft, SERVER, type ToPage, userIdOf, type Via } from './messages.ts';

/** Sends to all tabs of one user, on whichever servers, and to the sender's; or to everyone. */
export async function deliver(from: string, { to, text }: Draft, via: Via) {
  const manager = getWebSocketManager();
  const message: ToPage = { type: 'message', id: randomUUID(), from, to, text, via, server: SERVER };
  if (to === '') return manager.broadcast(message);
  if (userIdOf(to) !== userIdOf(from)) manager.sendToUser(userIdOf(from), message);
  return manager.sendToUser(userIdOf(to), message);
}
