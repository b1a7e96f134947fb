'use strict';

const { connect } = require('./client');
const { host } = require('./host');
const { byQuery } = require('./identity');
const { startRedis } = require('./redis');
const { Statuses } = require('./statuses');

let made = 0;

/** A server of this process that shares `redis` with others. Resolves when it can. */
async function server(redis, { redis: more, ...options } = {}) {
  made += 1;
  const name = `server-${made}`;
  const { manager, url } = await host({
    name,
    auth: byQuery,
    redis: { url: redis.url, ...more },
    ...options,
  });
  const statuses = new Statuses(manager);
  await manager.ready();
  return { manager, statuses, url, connect: (query) => connect(`${url}?${query}`) };
}

/** Two servers of this process and their Redis. */
async function twoServers(options) {
  const redis = await startRedis();
  return { redis, one: await server(redis, options), two: await server(redis, options) };
}

/** Asks until the answer is `wanted`: for what happens elsewhere, and nobody is told of. */
async function eventually(ask, wanted) {
  while ((await ask()) !== wanted) await new Promise(setImmediate);
}

module.exports = { server, twoServers, eventually };
