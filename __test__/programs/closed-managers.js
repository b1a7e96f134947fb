'use strict';

// Managers and RedisPubSubs over Redis that are closed and kept. Prints how many descriptors the process has before and after.

const { readdirSync } = require('node:fs');
const { createServer } = require('node:http');
const { RedisPubSub, WebSocketManager } = require('../..');

const url = process.env.REDIS_URL;
const descriptors = () => readdirSync('/proc/self/fd').length;
const kept = [];

async function open(name) {
  const manager = new WebSocketManager(createServer(), { name, auth: 'anonymous', redis: { url } });
  const pubSub = new RedisPubSub(url);
  await Promise.all([manager.ready(), pubSub.initialize()]);
  await Promise.all([manager.close(), pubSub.close()]);
  kept.push(manager, pubSub);
}

async function main() {
  await open('first');
  const before = descriptors();
  for (let i = 0; i < 5; i += 1) await open(`another ${i}`);
  console.log(JSON.stringify({ before, after: descriptors() }));
}

main();
