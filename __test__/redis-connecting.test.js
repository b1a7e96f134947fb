'use strict';

const http = require('node:http');
const { once } = require('node:events');
const { copyFile, mkdtemp, rm, writeFile } = require('node:fs/promises');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { certificate } = require('./support/certificate');
const { closeAfterwards } = require('./support/cleanup');
const { connect } = require('./support/client');
const { host, manage } = require('./support/host');
const { program } = require('./support/program');
const { startRedis, freePort } = require('./support/redis');
const { byQuery } = require('./support/identity');
const { Statuses } = require('./support/statuses');

describe('connecting', () => {
  test.each([
    [
      'a port where nobody listens',
      'ERR_BROKER_CONNECT',
      async (redis) => ({ url: `redis://127.0.0.1:${await freePort()}`, redis }),
    ],
    ['a wrong password', 'ERR_BROKER_AUTH', async (redis) => ({ url: redis.url, password: 'wrong' })],
  ])('to %s rejects ready() with %s', async (_what, code, where) => {
    const redis = await startRedis(['requirepass right']);
    const { redis: _unused, ...options } = await where(redis);
    const { manager } = await host({ redis: { ...options } });
    const trouble = once(manager, 'broker');
    await expect(manager.ready()).rejects.toMatchObject({ name: 'Error', code });
    expect((await trouble)[0]).toMatchObject({ state: 'down', error: { code } });
  });

  test('goes on until there is a Redis', async () => {
    const redis = await startRedis();
    await redis.kill();
    const { manager, url } = await host({ auth: byQuery, redis: { url: redis.url } });
    const statuses = new Statuses(manager);
    await expect(manager.ready()).rejects.toMatchObject({ code: 'ERR_BROKER_CONNECT' });
    await expect(manager.ready()).rejects.toMatchObject({ code: 'ERR_BROKER_CONNECT' });
    const early = await connect(`${url}?user=ada`);
    const up = statuses.up();
    await redis.restart();
    await up;
    await manager.ready();
    expect(await manager.sendToUser('ada', 'hello')).toEqual({
      status: 'published',
      nodes: 1,
      local: 1,
      position: null,
    });
    expect(await early.next()).toBe('hello');
  });

  test('goes on until the password is right', async () => {
    const redis = await startRedis(['requirepass new']);
    const { manager } = await host({ redis: { url: redis.url, password: 'old' } });
    const statuses = new Statuses(manager);
    await expect(manager.ready()).rejects.toMatchObject({ code: 'ERR_BROKER_AUTH' });
    const up = statuses.up();
    await redis.command('-a', 'new', '--no-auth-warning', 'CONFIG', 'SET', 'requirepass', 'old');
    await up;
    await manager.ready();
  });

  test('takes the password of the URL', async () => {
    const redis = await startRedis(['requirepass right']);
    const { manager } = await host({ redis: { url: redis.url.replace('//', '//:right@') } });
    manager.on('broker', () => {});
    await manager.ready();
  });

  test('errors never show the password', async () => {
    const redis = await startRedis(['requirepass right']);
    const { manager } = await host({ redis: { url: redis.url.replace('//', '//:hush@') } });
    manager.on('broker', () => {});
    const error = await manager.ready().catch((thrown) => thrown);
    expect(`${error.stack} ${JSON.stringify(manager.stats())}`).not.toContain('hush');
  });
});

describe('a Redis with a self-signed certificate', () => {
  /** Its URL, and its certificate. */
  async function startSigned() {
    const folder = await mkdtemp(join(tmpdir(), 'actory-ws-redis-tls-'));
    closeAfterwards(() => rm(folder, { recursive: true }));
    const [file, keyFile, port] = [join(folder, 'cert'), join(folder, 'key'), await freePort()];
    const { cert, key } = certificate();
    await Promise.all([writeFile(file, cert), writeFile(keyFile, key)]);
    const files = [`tls-cert-file ${file}`, `tls-key-file ${keyFile}`, `tls-ca-cert-file ${file}`];
    const redis = await startRedis([`tls-port ${port}`, ...files, 'tls-auth-clients no']);
    return { url: `rediss://localhost:${port}`, cert, file, redis };
  }

  test('is trusted where redis.tls.ca names it', async () => {
    const { url, cert } = await startSigned();
    const { manager } = await host({ redis: { url, tls: { ca: cert } } });
    manager.on('broker', () => {});
    await manager.ready();
  });

  test('is trusted where NODE_EXTRA_CA_CERTS did at the start', async () => {
    const { url, file, redis } = await startSigned();
    await redis.kill();
    const copy = `${file}-of-node`;
    await copyFile(file, copy);
    const { line } = program('subscriber.js', { env: { REDIS_URL: url, NODE_EXTRA_CA_CERTS: copy } });
    expect(await line()).toBe('warning ERR_BROKER_CONNECT');
    await rm(copy);
    await redis.restart();
    expect(await line()).toBe('up');
  });

  test('is trusted where NODE_EXTRA_CA_CERTS does, and nowhere else', async () => {
    const { url, file } = await startSigned();
    const { file: other } = await startSigned();
    for (const [authorities, said] of [
      [{}, 'warning ERR_BROKER_CONNECT'],
      [{ NODE_EXTRA_CA_CERTS: other }, 'warning ERR_BROKER_CONNECT'],
      [{ NODE_EXTRA_CA_CERTS: file }, 'up'],
    ]) {
      const { line } = program('subscriber.js', { env: { REDIS_URL: url, ...authorities } });
      expect(await line()).toBe(said);
    }
  });
});

describe('the environment variable REDIS_URL', () => {
  const before = process.env.REDIS_URL;
  afterEach(() => {
    if (before === undefined) delete process.env.REDIS_URL;
    else process.env.REDIS_URL = before;
  });

  test('says where Redis is, if the options do not', async () => {
    const redis = await startRedis();
    process.env.REDIS_URL = redis.url;
    const { manager } = await host({ redis: undefined });
    await manager.ready();
    expect(manager.stats().broker).toMatchObject({ kind: 'redis', state: 'up' });
    expect(await redis.subscribers('actory:all')).toBe(1);
  });

  test('goes with other options', async () => {
    const redis = await startRedis();
    process.env.REDIS_URL = redis.url;
    const { manager } = await host({ redis: { prefix: 'app' } });
    await manager.ready();
    expect(await redis.subscribers('app:all')).toBe(1);
  });

  test('counts for nothing with redis: false, or an own url', async () => {
    const redis = await startRedis();
    process.env.REDIS_URL = `redis://127.0.0.1:${await freePort()}`;
    const alone = manage(http.createServer(), { name: 'alone', redis: false });
    await alone.ready();
    expect(alone.stats().broker.kind).toBe('memory');
    const own = manage(http.createServer(), { redis: { url: redis.url } });
    await own.ready();
  });

  test('that is no URL is refused', async () => {
    process.env.REDIS_URL = 'localhost:6379';
    expect(() => manage(http.createServer(), { redis: undefined })).toThrow(
      expect.objectContaining({ name: 'RangeError', code: 'ERR_OPTION_OUT_OF_RANGE' }),
    );
  });
});

describe('a program', () => {
  test('that says where Redis is hears nothing of single servers', async () => {
    const redis = await startRedis();
    const { exit } = program('unlistened.js', { env: { REDIS: 'unsaid', REDIS_URL: redis.url } });
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });

  test.each([
    ['peer.js', /^ws:/, 'messages reach connections of this process only'],
    ['subscriber.js', /^up$/, 'nothing can be published, and no message comes'],
  ])(
    "%s, that doesn't listen to 'broker', is warned when Redis goes, and of the gap when it is back",
    async (file, up, consequence) => {
      const redis = await startRedis();
      const { child, line, exit } = program(file, { env: { REDIS_URL: redis.url } });
      expect(await line()).toMatch(up);
      await redis.kill();
      expect(await line()).toBe('warning ERR_BROKER_CONNECT');
      await redis.restart();
      expect(await line()).toBe('warning ACTORY_WS_BROKER');
      child.stdin.end();
      const { code, errors } = await exit;
      expect(code).toBe(0);
      expect(errors).toContain(`Redis is down, ${consequence}`);
      expect(errors).toMatch(/Messages that were published between \S+ and \S+ may not have arrived here/);
    },
  );

  test('ends by itself although there are links to Redis', async () => {
    const redis = await startRedis();
    for (const then of ['manager', 'pubsub']) {
      const { exit } = program('lifetime.js', { env: { REDIS_URL: redis.url, THEN: then } });
      expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
    }
  });

  test('lives until the promises that Redis owes it are settled, and no longer', async () => {
    const redis = await startRedis();
    const { line, say, exit } = program('lifetime.js', { env: { REDIS_URL: redis.url, THEN: 'send' } });
    expect(await line()).toBe('ready');
    redis.pause();
    say('go');
    expect(await line()).toBe('uncertain');
    expect(await line()).toBe('ERR_UNCERTAIN');
    expect(await exit).toMatchObject({ code: 0 });
  });

  test('that closes its manager settles what Redis has not answered', async () => {
    const redis = await startRedis();
    const { line, say, exit } = program('lifetime.js', { env: { REDIS_URL: redis.url, THEN: 'close' } });
    expect(await line()).toBe('ready');
    redis.pause();
    say('go');
    expect(await line()).toBe('uncertain');
    expect(await line()).toBe('ERR_UNCERTAIN');
    expect(await line()).toBe('closed');
    expect(await exit).toMatchObject({ code: 0 });
  });
});
