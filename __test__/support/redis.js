'use strict';

const { closeAfterwards } = require('./cleanup');
const { RedisServer, freePort } = require('./redis-server');

/** A `redis-server` that ends with the test. `lines` are added to its configuration. */
async function startRedis(lines) {
  const redis = await RedisServer.start(lines);
  closeAfterwards(() => redis.close());
  return redis;
}

module.exports = { startRedis, freePort };
