// This package. 'echo': every connection is a user of its own, whose JSON the relay sends back without JavaScript.
// 'relay': the same by way of Redis, and JavaScript says who the user is. 'fair': the same with or without Redis, with two
// threads, while the application sends to a user who is not there.
import { createServer } from 'node:http';
import { WebSocketManager } from '../../index.mjs';
import { hasHistory, heartbeatMs, mode, onRequest, publicKey, ready, relay, routes } from './options.mjs';
import { sampler } from './sampler.mjs';

const isFair = mode === 'fair';
const redisUrl = isFair || mode === 'relay' ? process.env.REDIS_URL : undefined;

/** 'fair': the room of those who get what the application sends to many, and what that is. */
const CROWD = 'crowd';
const NEWS = JSON.stringify('n'.repeat(8000));
const NEWS_MS = 10;
/** Of each user, with --history. */
const HISTORY = { size: 50, ttlMs: 600_000 };

function authenticate({ url }) {
  const query = new URL(url, 'http://localhost').searchParams;
  const userId = query.get('user');
  if (relay === 'user') return { userId };
  const own = Array.from({ length: Number(query.get('rooms')) }, (_, i) => `${userId}-${i}`);
  return { userId, rooms: query.has(CROWD) ? [CROWD, ...own] : own };
}

function auth() {
  if (publicKey) return { jwt: { publicKey } };
  return mode === 'relay' || relay === 'rooms' ? { authenticate } : 'anonymous';
}

const server = createServer(onRequest);
const manager = new WebSocketManager(server, {
  auth: auth(),
  relay: { 'js-echo': false, fanout: 'rooms' }[mode] ?? relay,
  threads: isFair ? 2 : 1,
  redis: redisUrl ? { url: redisUrl } : false,
  ...(hasHistory && { history: HISTORY }),
  ...(heartbeatMs > 0 && { heartbeat: { intervalMs: heartbeatMs, timeoutMs: heartbeatMs } }),
});
if (mode === 'js-echo') manager.on('message', (connection, data) => connection.send(data));
if (mode === 'fanout') manager.on('connection', (connection) => connection.join('all'));
if (isFair) {
  // With Redis, a message that did not get there counts as failed.
  const options = redisUrl ? { require: 'cluster' } : undefined;
  const sends = sampler(() => manager.sendToUser('nobody', { hello: 'world' }, options));
  // Nobody is in the room but in the attack that is about this.
  if (relay === 'rooms') setInterval(() => manager.sendToRoom(CROWD, NEWS), NEWS_MS);
  routes['/begin'] = () => {
    sends.begin();
    return 'ok';
  };
  routes['/end'] = () => JSON.stringify({ ...sends.end(), stats: manager.stats() });
}
await manager.ready();
server.listen(0, '127.0.0.1', 4096, () => ready(server.address().port));
