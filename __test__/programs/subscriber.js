'use strict';

// A RedisPubSub on the Redis that REDIS_URL names, which nobody listens to. Prints a line once it is up, and the code of
// every warning; ends with its standard input or, where ALONE is set, once nothing holds it.

const { RedisPubSub } = require('../..');

process.on('warning', ({ code }) => console.log(`warning ${code}`));
const pubsub = new RedisPubSub();
if (!process.env.ALONE) process.stdin.on('close', () => pubsub.close()).resume();

(async () => {
  await pubsub.subscribe('news', () => {});
  console.log('up');
})();
