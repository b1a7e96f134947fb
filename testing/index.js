'use strict';

const { randomBytes } = require('node:crypto');
const { WebSocketManager } = require('../index');
const { toId } = require('../lib/argument');
const { closedError, invalidArg } = require('../lib/error');
const { registry } = require('../lib/registry');
const { checkServer } = require('../lib/upgrade');
const { Host } = require('./host');
const { Refusals } = require('./refusals');
const { Signer } = require('./signer');
const { Sockets } = require('./sockets');
const { TestClient, opened } = require('./test-client');
const { toTimeout } = require('./timeout');

/** Milliseconds: less than the 5 s after which jest and vitest end a test without a word of what it waited for. */
const TIMEOUT_MS = 4000;
/** Pauses of clients that come back, in milliseconds: a test has no crowd to spread. */
const RECONNECT = { minMs: 10, maxMs: 100 };

/** `'default'`, which `getWebSocketManager()` finds, or else the first that is free. */
function freeName() {
  const { managers } = registry();
  if (!managers.has('default')) return 'default';
  let number = 2;
  while (managers.has(`test-${number}`)) number += 1;
  return `test-${number}`;
}

/** A manager and its server, for a test. Documented in index.d.ts. */
async function createTestServer(options = {}) {
  if (typeof options !== 'object' || options === null) throw invalidArg('options', 'an object', options);
  const { server, timeoutMs: timeout = TIMEOUT_MS, ...others } = options;
  if (server !== undefined) checkServer(server);
  const timeoutMs = toTimeout(timeout, 'timeoutMs');
  const auth = others.auth ?? { jwt: { secret: randomBytes(32).toString('hex') } };
  const host = new Host(server);
  const managerOptions = { ...others, auth, name: others.name ?? freeName(), redis: others.redis ?? false };
  const manager = new WebSocketManager(host.server, managerOptions);
  const signer = new Signer(auth);
  const refusals = new Refusals(manager);
  const sockets = new Sockets();
  const clients = new Set();
  let url;
  let closing;

  function tokenFor(userId, claims) {
    return signer.sign(toId(userId, 'userId'), claims);
  }

  async function connect(userId, clientOptions) {
    if (closing !== undefined) throw closedError('test server');
    const token = userId === undefined ? undefined : toId(userId, 'userId');
    const isGiven = clientOptions?.token !== undefined;
    if (token !== undefined && !isGiven) tokenFor(token);
    const all = {
      token: token === undefined ? undefined : () => tokenFor(token),
      reconnect: RECONNECT,
      ...clientOptions,
      WebSocket: sockets.counted(clientOptions?.WebSocket),
    };
    const client = new TestClient(url, all, timeoutMs);
    clients.add(client);
    await opened(client, timeoutMs, refusals.watch());
    return client;
  }

  async function end() {
    for (const client of clients) client.close();
    refusals.close();
    await Promise.all([manager.close(), sockets.ended()]);
    await host.close();
  }

  function close() {
    closing ??= end();
    return closing;
  }

  try {
    await host.listen();
    url = host.url(manager.path);
    await manager.ready();
  } catch (error) {
    await close();
    throw error;
  }
  const app = { manager, server: host.server, url, tokenFor, connect, close };
  if (Symbol.asyncDispose !== undefined) app[Symbol.asyncDispose] = close;
  return app;
}

module.exports = { createTestServer };
