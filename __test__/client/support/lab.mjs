import { afterEach } from 'node:test';
import { WebSocket } from 'ws';
import { WebSocketClient } from '../../../client/index.mjs';
import { Inbox } from './inbox.mjs';
import { Peer } from './peer.mjs';

const opened = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
});

/** Closes something after the test. */
export function keep(something) {
  opened.push(something);
  return something;
}

export const peer = async (options) => keep(await new Peer(options).listen());

/** A client with short pauses, and everything that it emits: `[name, event]`. */
export function client(url, options = {}) {
  const made = keep(new WebSocketClient(url, { WebSocket, reconnect: { minMs: 1, maxMs: 20 }, ...options }));
  const events = new Inbox();
  for (const name of ['message', 'missed', 'status', 'error', 'joined', 'left']) {
    made.on(name, (event) => events.push([name, event]));
  }
  /** The next event of that name. */
  const next = async (wanted) => (await events.find(([name]) => name === wanted))[1];
  const status = (wanted) => events.find(([name, event]) => name === 'status' && event === wanted);
  return { client: made, events, next, status };
}

/** Both ends of a connection that is open. */
export async function pair(options, ...topics) {
  const server = await peer();
  const made = client(server.url, options);
  const connection = (await server.next()).hello(...topics);
  await made.status('open');
  return { server, connection, ...made };
}
