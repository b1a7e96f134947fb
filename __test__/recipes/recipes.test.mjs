// Runs the blocks of docs/recipes.md as they are printed, with the real frameworks and test runners.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync } from 'node:fs';
import { request } from 'node:http';
import { createRequire } from 'node:module';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { root } from '../../scripts/run.mjs';
import { Kitchen, SECRET } from './kitchen.mjs';

const require = createRequire(import.meta.url);
globalThis.afterEach = afterEach; // The support of jest's tests takes it from there.
const { connect } = require('../support/client.js');
const { RedisServer } = require('../support/redis-server.js');
const { sign } = require('../support/token.js');

const programs = join(root, '__test__', 'recipes', 'programs');
const kitchen = new Kitchen();
before(() => kitchen.open(), { timeout: 300_000 });
after(() => kitchen.close());

const TIMEOUT = { timeout: 60_000 };
const token = (userId) => ['bearer', sign({ sub: userId }, SECRET)];

/** Orders for a user, through the route. */
async function order(url, userId) {
  const response = await fetch(`${url}/orders/${userId}`, { method: 'POST' });
  assert.ok(response.ok, `${response.status}`);
  return response.json();
}

/** The status that an upgrade is answered with; 101 if it is accepted. */
async function statusOfUpgrade(url) {
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  };
  const sent = request(url, { headers, agent: false }).end();
  const accepted = once(sent, 'upgrade').then(([response, socket]) => {
    socket.destroy();
    return [response];
  });
  const [response] = await Promise.race([once(sent, 'response'), accepted]);
  response.resume();
  return response.statusCode;
}

/** Every server of the recipes does this. */
async function tryOut({ child, exit, url }, options) {
  const hello = async () => (await fetch(url)).text();
  const client = await connect(`${url.replace('http', 'ws')}/api/websocket`, options);
  assert.deepEqual(await order(url, 'ada'), { status: 'published', nodes: 1, local: 1, position: null });
  assert.deepEqual(await client.nextJson(), { type: 'order' });
  assert.deepEqual(await order(url, 'bob'), { status: 'published', nodes: 0, local: 0, position: null });
  assert.equal(await hello(), 'hello');
  assert.equal((await fetch(`${url}/nowhere`)).status, 404);
  assert.equal((await fetch(`${url}/api/websocket`)).status, 404, 'a plain request of our path is a route');
  assert.equal(await statusOfUpgrade(`${url}/nowhere`), 404, 'an upgrade of another path is one too');
  assert.equal(await statusOfUpgrade(`${url}/api/websocket`), 401);
  child.kill('SIGINT'); // as pm2 does
  assert.equal((await client.closed).code, 1012);
  assert.deepEqual(await exit, { code: 0, signal: null, output: '' });
}

describe('frameworks', () => {
  const recipes = {
    Express: ['express.mjs'],
    Koa: ['koa.mjs'],
    Fastify: ['fastify.mjs'],
    NestJS: ['--import', 'tsx', 'nest.mts'],
    Hono: ['hono.mjs'],
    h3: ['h3.mjs'],
  };
  for (const [heading, args] of Object.entries(recipes)) {
    test(`${heading}: a route reaches a user, other routes work, it ends by itself`, TIMEOUT, async () => {
      await tryOut(await kitchen.serve(kitchen.lay(heading), args), { protocols: token('ada') });
    });
  }

  const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
    all.some(({ address }) => address === '::1'),
  );
  const both = "Fastify: its second server for 'localhost' has its upgrades taken, too";
  test(both, { ...TIMEOUT, skip: !hasIpv6 && 'no IPv6 here' }, async () => {
    const args = ['--require', join(programs, 'two-addresses.cjs'), ...recipes.Fastify];
    const { child, exit, port, url } = await kitchen.serve(kitchen.lay('Fastify'), args);
    const hosts = ['127.0.0.1', '[::1]'];
    const clients = [];
    for (const host of hosts) {
      clients.push(await connect(`ws://${host}:${port}/api/websocket`, { protocols: token('ada') }));
    }
    assert.equal((await order(url, 'ada')).local, 2);
    for (const client of clients) assert.deepEqual(await client.nextJson(), { type: 'order' });
    child.kill('SIGTERM');
    for (const client of clients) assert.equal((await client.closed).code, 1012);
    assert.deepEqual(await exit, { code: 0, signal: null, output: '' });
  });
});

describe("frameworks' own WebSockets beside a manager", () => {
  const tsx = ['--import', 'tsx'];
  const neighbours = {
    "Hono's upgradeWebSocket": ['Hono', ['hono-websocket.mjs'], 404],
    "NestJS's WsAdapter": ['NestJS', [...tsx, 'nest-gateway.mts'], 'ended'],
    "h3's defineWebSocketHandler": ['h3', ['h3-websocket.mjs'], 101],
  };
  for (const [name, [heading, args, nobodys]] of Object.entries(neighbours)) {
    test(`${name}: each has its path`, TIMEOUT, async () => {
      const folder = kitchen.lay(heading); // for its tsconfig.json
      cpSync(programs, folder, { recursive: true });
      const { url, child, exit } = await kitchen.serve(folder, args);
      const base = url.replace('http', 'ws');
      const ours = await connect(`${base}/api/websocket`, { protocols: token('ada') });
      const theirs = await connect(`${base}/theirs`);
      for (let n = 0; n < 20; n += 1) {
        ours.send(String(n));
        theirs.send(String(n));
        assert.deepEqual([await ours.next(), await theirs.next()], [`${n}`, `theirs: ${n}`]);
      }
      const fate = await Promise.race([
        statusOfUpgrade(`${url}/nowhere`).catch(() => 'ended'),
        setTimeout(1000, 'waits'),
      ]);
      assert.equal(fate, nobodys, "what becomes of an upgrade that is nobody's");
      child.kill();
      assert.equal((await exit).output, '');
    });
  }
});

describe('Auth.js', () => {
  const AUTH_SECRET = 'a secret of Auth.js, as long as you like';
  const args = ['auth.mjs'];
  let folder;
  let jwt;

  before(async () => {
    folder = kitchen.lay('Auth.js');
    jwt = await import(createRequire(join(folder, 'auth.mjs')).resolve('@auth/core/jwt'));
  });

  /** The cookies of a response, as a client sends them back. */
  const cookiesOf = (response) => response.headers.getSetCookie().map((cookie) => cookie.split(';')[0]);

  test('the cookie that it sets lets in, as the user who signed in', TIMEOUT, async () => {
    const server = await kitchen.serve(folder, args, { AUTH_SECRET, AUTH_TRUST_HOST: 'true' });
    const csrf = await fetch(`${server.url}/auth/csrf`);
    const { csrfToken } = await csrf.json();
    const signedIn = await fetch(`${server.url}/auth/callback/credentials`, {
      method: 'POST',
      redirect: 'manual',
      headers: { Cookie: cookiesOf(csrf).join('; ') },
      body: new URLSearchParams({ csrfToken, name: 'ada' }),
    });
    const Cookie = cookiesOf(signedIn).find((cookie) => cookie.startsWith('authjs.session-token='));
    assert.equal(Cookie.split('.').length, 6, 'it is encrypted: five parts, and a dot in its name');
    await tryOut(server, { headers: { Cookie } });
  });

  test('cookies in pieces let in, on https under their own name; others do not', TIMEOUT, async () => {
    const env = { AUTH_SECRET, AUTH_URL: 'https://example.com/auth' };
    const server = await kitchen.serve(folder, args, env);
    const name = '__Secure-authjs.session-token';
    const claims = { token: { sub: 'ada', large: 'x'.repeat(5000) }, salt: name };
    const cookie = (text) => `${name}.0=${text.slice(0, 3900)}; ${name}.1=${text.slice(3900)}`;
    const url = `ws://localhost:${server.port}/api/websocket`;
    const client = await connect(url, {
      headers: { Cookie: cookie(await jwt.encode({ ...claims, secret: AUTH_SECRET })) },
    });
    await order(server.url, 'ada');
    assert.deepEqual(await client.nextJson(), { type: 'order' });
    const forged = await connect(url, {
      headers: { Cookie: cookie(await jwt.encode({ ...claims, secret: 'another one' })) },
    }).catch((error) => error);
    assert.match(String(forged), /401/);
    server.child.kill('SIGTERM');
    assert.equal((await client.closed).code, 1012);
    assert.equal((await server.exit).code, 0);
  });
});

test('a process that only sends reaches a user of a server', TIMEOUT, async () => {
  const redis = await RedisServer.start();
  try {
    const env = { REDIS_URL: redis.url };
    const { url, child, exit } = await kitchen.serve(kitchen.lay('Express'), ['express.mjs'], env);
    const client = await connect(`${url.replace('http', 'ws')}/api/websocket`, { protocols: token('ada') });
    const sender = kitchen.run(kitchen.lay('A process that only sends'), ['send.mjs', 'ada'], env);
    assert.deepEqual(await client.nextJson(), { type: 'order' });
    assert.deepEqual(await sender.exit, { code: 0, signal: null, output: 'published\n' });
    child.kill('SIGTERM');
    assert.equal((await exit).code, 0);
  } finally {
    await redis.close();
  }
});

test('jest: a faked timer, and a real one', TIMEOUT, async () => {
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  const folder = kitchen.lay('Tests with jest');
  const config = JSON.stringify({ rootDir: folder, testMatch: ['**/*.test.cjs'] });
  const { code, output } = await kitchen.run(folder, [jest, '--config', config]).exit;
  assert.match(output, /Tests: +2 passed, 2 total/);
  assert.doesNotMatch(output, /did not exit|forced/);
  assert.equal(code, 0);
});

test('vitest: the same', TIMEOUT, async () => {
  const folder = kitchen.lay('Tests with vitest');
  const vitest = join(folder, '..', 'node_modules/vitest/vitest.mjs');
  const { code, output } = await kitchen.run(folder, [vitest, 'run']).exit;
  assert.match(output, /Tests +2 passed \(2\)/);
  assert.equal(code, 0);
});
