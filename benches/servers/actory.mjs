// This package. 'echo': every connection is a user of its own, whose JSON the relay sends back without JavaScript.
// 'relay': the same by way of Redis, and JavaScript says who the user is.
import { createServer } from 'node:http';
import { WebSocketManager } from '../../index.mjs';
import { heartbeatMs, mode, onRequest, ready } from './options.mjs';

const relay = { 'js-echo': false, fanout: 'rooms' }[mode] ?? 'user';
const authenticate = ({ url }) => ({ userId: new URL(url, 'http://localhost').searchParams.get('user') });
const server = createServer(onRequest);
const manager = new WebSocketManager(server, {
  auth: mode === 'relay' ? { authenticate } : 'anonymous',
  relay,
  threads: 1,
  redis: mode === 'relay' && { url: process.env.REDIS_URL },
  ...(heartbeatMs > 0 && { heartbeat: { intervalMs: heartbeatMs, timeoutMs: heartbeatMs } }),
});
if (mode === 'js-echo') manager.on('message', (connection, data) => connection.send(data));
if (mode === 'fanout') manager.on('connection', (connection) => connection.join('all'));
await manager.ready();
server.listen(0, '127.0.0.1', 4096, () => ready(server.address().port));
