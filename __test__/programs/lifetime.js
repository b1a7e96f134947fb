'use strict';

// A manager, or a RedisPubSub, with links to the Redis that REDIS_URL names, and nothing else that would hold the
// process. THEN says what it does with them.

const http = require('node:http');
const { once } = require('node:events');
const { WebSocketManager, RedisPubSub } = require('../..');

const { THEN } = process.env;
const redis = { commandTimeoutMs: 400, probeIntervalMs: 100 };

async function withManager() {
  // Longer than the answers that are still due are waited for.
  const limits = { closeTimeoutMs: 100 };
  const manager = new WebSocketManager(http.createServer(), { auth: 'anonymous', limits, redis });
  manager.on('broker', () => {});
  await manager.ready();
  if (THEN === 'manager') return;
  console.log('ready');
  await once(process.stdin, 'data');
  process.stdin.destroy();
  const say = ({ code, status }) => console.log(code ?? status);
  const sent = manager.sendToUser('ada', 'hello').then(say);
  manager.publish('orders', 1).catch(say);
  if (THEN === 'close') {
    await manager.close();
    console.log('closed');
  }
  await sent;
}

async function withPubSub() {
  const pubsub = new RedisPubSub(undefined, redis);
  await pubsub.initialize();
  if (THEN === 'pubsub') return;
  await pubsub.subscribe('orders', (order) => {
    console.log(JSON.stringify(order));
    if (THEN === 'unsubscribe') pubsub.unsubscribe('orders');
  });
  if (THEN === 'unref') pubsub.unref();
  console.log('ready');
}

if (['manager', 'send', 'close'].includes(THEN)) withManager();
else withPubSub();
