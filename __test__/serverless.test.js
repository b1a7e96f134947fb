'use strict';

const http = require('node:http');
const { getWebSocketManager } = require('..');
const { manage, listening } = require('./support/host');
const { connect, refused } = require('./support/client');
const { program } = require('./support/program');
const { startRedis } = require('./support/redis');

/** A server whose upgrades a manager of its own takes, by handleUpgrade alone. */
async function routed(options, identity) {
  const manager = manage(null, options);
  const server = await listening(
    http.createServer().on('upgrade', (req, socket, head) => {
      manager.handleUpgrade(req, socket, head, identity).catch(() => {});
    }),
  );
  return { manager, server, url: `ws://127.0.0.1:${server.address().port}/any` };
}

describe('a manager without a server', () => {
  test('takes what handleUpgrade gives it', async () => {
    const { manager, url } = await routed({}, { userId: 'ada' });
    expect(getWebSocketManager()).toBe(manager);
    const client = await connect(url);
    await manager.sendToUser('ada', 'hello');
    expect(await client.next()).toBe('hello');
    await manager.close();
    expect(await client.closed).toEqual({ code: 1001, reason: '' });
  });

  test('outlives servers that it took sockets from', async () => {
    const { manager, server, url } = await routed({}, { userId: 'ada' });
    const client = await connect(url);
    server.close();
    await manager.sendToUser('ada', 'still here');
    expect(await client.next()).toBe('still here');
  });

  test('needs no auth, and lets nobody in then whom the application does not name', async () => {
    const { url } = await routed({ auth: undefined }, undefined);
    expect(await refused(url)).toMatchObject({ status: 401, body: { code: 'ERR_UNAUTHORIZED' } });
    const named = await routed({ auth: undefined, name: 'named' }, { userId: 'ada' });
    await connect(named.url);
  });

  test('sends to users of other servers', async () => {
    const redis = await startRedis();
    const { url, manager } = await routed({ redis: { url: redis.url } }, { userId: 'ada' });
    await manager.ready();
    const client = await connect(url);
    const sender = manage(null, { name: 'sender', auth: undefined, redis: { url: redis.url } });
    await sender.ready();
    expect(await sender.sendToUser('ada', 'from afar')).toMatchObject({ status: 'published', nodes: 1 });
    expect(await client.next()).toBe('from afar');
  });

  test.each(['null', 'http'])(
    'holds the process no more than one with a server does (%s)',
    async (server) => {
      const { line, exit } = program('serverless.js', { env: { SERVER: server } });
      expect(await line()).toBe('published');
      expect(await exit).toMatchObject({ code: 0, signal: null, errors: '' });
    },
  );
});
