'use strict';

// Closes a manager and, where REDIS_URL says where Redis is, a RedisPubSub, each with a listener that holds a lot, and says
// what of them is left. Run with --expose-gc.

const http = require('node:http');
const { once } = require('node:events');
const { WebSocket } = require('ws');
const { RedisPubSub, WebSocketManager } = require('../..');

const SIZE = 20_000_000;
const refs = {};

function hold(name, emitter, event) {
  const bytes = Buffer.alloc(SIZE, 1);
  emitter.on(event, () => bytes.length);
  refs[name] = new WeakRef(emitter);
  refs[`${name}'s bytes`] = new WeakRef(bytes);
}

async function closeManager(server) {
  const manager = new WebSocketManager(server, { auth: 'anonymous', redis: false, threads: 1 });
  hold('manager', manager, 'message');
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const met = once(manager, 'connection');
  const client = new WebSocket(`ws://127.0.0.1:${server.address().port}/api/websocket`);
  const [connection] = await met;
  refs.connection = new WeakRef(connection);
  const gone = once(client, 'close');
  await manager.close();
  await gone;
}

async function closePubSub() {
  const pubsub = new RedisPubSub();
  hold('pubsub', pubsub, 'error');
  const bytes = Buffer.alloc(SIZE, 1);
  refs.handler = new WeakRef(bytes);
  await pubsub.subscribe('news', () => bytes.length);
  await pubsub.close();
}

async function main() {
  // The server stays: nothing of a closed manager may hang on it.
  const server = http.createServer();
  await closeManager(server);
  if (process.env.REDIS_URL) await closePubSub();
  const left = () => Object.keys(refs).filter((name) => refs[name].deref() !== undefined);
  // A finalizer runs in a turn of the loop of its own, and lets go of further things.
  for (let i = 0; i < 100 && left().length > 0; i += 1) {
    await new Promise(setImmediate);
    global.gc();
  }
  console.log(`left: ${left().join(', ')}`);
  server.close();
}

main();
