'use strict';

const { RedisPubSub } = require('../..');
const { closeAfterwards } = require('./cleanup');
const { Inbox } = require('./client');
const { Statuses } = require('./statuses');

/** A pub/sub that is closed after the test. */
function open(redis, options) {
  const pubsub = new RedisPubSub(redis.url, options);
  closeAfterwards(() => pubsub.close());
  return pubsub;
}

/** One that is connected, with the statuses that it tells. */
async function start(redis, options) {
  const pubsub = open(redis, options);
  const statuses = new Statuses(pubsub);
  await pubsub.initialize();
  return { pubsub, statuses };
}

/** A handler that keeps what it is called with. */
function recorder() {
  const inbox = new Inbox();
  const handler = (...call) => inbox.put(call);
  handler.next = () => inbox.next();
  return handler;
}

/** Its next error. */
const nextError = (pubsub) => new Promise((resolve) => pubsub.once('error', resolve));

module.exports = { open, start, recorder, nextError };
