'use strict';

const http = require('node:http');
const { once } = require('node:events');
const { cp, mkdtemp, readdir, rm } = require('node:fs/promises');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { WebSocketManager, getWebSocketManager } = require('..');
const { closeAfterwards } = require('./support/cleanup');
const { host, manage, listening, silent } = require('./support/host');
const { RawClient, upgradeRequest } = require('./support/client');
const { program } = require('./support/program');

describe('close', () => {
  test('tells the clients, ends the manager, and answers one promise', async () => {
    const { manager, server, connect: open } = await host();
    const client = await open();
    const gone = once(manager, 'disconnect');
    const first = manager.close({ code: 1012, reason: 'deploy' });
    expect(manager.close()).toBe(first);
    expect(manager.close({ drainMs: 'nonsense' })).toBe(first);
    expect(await client.closed).toEqual({ code: 1012, reason: 'deploy' });
    await first;
    expect((await gone).slice(1)).toEqual([1012, 'deploy', 'server']);
    expect(server.listenerCount('upgrade')).toBe(0);
    expect(server.listenerCount('close')).toBe(0);
    expect(manager.connections.size).toBe(0);
  });

  test('uses 1001 where nothing is said', async () => {
    const { manager, connect: open } = await host();
    const client = await open();
    await manager.close();
    expect(await client.closed).toEqual({ code: 1001, reason: '' });
  });

  test('comes with the end of the HTTP server', async () => {
    const { manager, server, connect: open } = await host();
    const client = await open();
    const ended = once(server, 'close');
    server.close();
    await ended;
    expect(await client.closed).toEqual({ code: 1001, reason: '' });
    await manager.close();
  });

  test('spreads the closing over drainMs, with the code of a restart', async () => {
    const { manager, connect: open } = await host();
    const clients = [await open(), await open(), await open(), await open()];
    const start = performance.now();
    await manager.close({ drainMs: 400 });
    for (const client of clients) expect((await client.closed).code).toBe(1012);
    expect(performance.now() - start).toBeGreaterThan(250);
  });

  test('does not wait for clients that do not answer longer than closeTimeoutMs', async () => {
    const { manager, port } = await host({ limits: { closeTimeoutMs: 50 } });
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest());
    await client.said('\r\n\r\n');
    await manager.close();
    expect(await client.ended).toContain('\x88\x02\x03\xe9');
  });

  test('refuses handshakes under way', async () => {
    const { authenticate, asking } = silent();
    const { manager, port } = await host({ auth: { authenticate } });
    const waiting = new RawClient({ port, host: '127.0.0.1' });
    waiting.write(upgradeRequest());
    await asking;
    const closed = manager.close({ drainMs: 100 });
    expect(await waiting.ended).toMatch(/^HTTP\/1\.1 503 [\s\S]*ERR_SHUTTING_DOWN/);
    await closed;
  });

  test('refuses upgrades with 503 while it drains', async () => {
    const { manager, connect: open, refused } = await host({ limits: { closeTimeoutMs: 300 } });
    const mute = await open();
    mute.socket.pause();
    const closed = manager.close();
    expect(await refused()).toMatchObject({
      status: 503,
      headers: { 'cache-control': 'no-store' },
      body: { code: 'ERR_SHUTTING_DOWN', message: 'the server is shutting down' },
    });
    mute.socket.resume();
    await closed;
  });

  test('in the middle of sends lets each of them be answered', async () => {
    const { manager, pair } = await host();
    const { connection } = await pair();
    const error = expect.objectContaining({ name: 'Error', code: 'ERR_CLOSED' });
    const sends = [];
    for (let i = 0; i < 100; i += 1) sends.push(manager.broadcast(i));
    const closed = manager.close();
    expect(await Promise.all(sends)).toHaveLength(100);
    const later = [
      () => manager.broadcast('x'),
      () => manager.sendToUser('u', 'x'),
      () => manager.sendToRoom('r', 'x'),
      () => manager.disconnectUser('u'),
      () => manager.isOnline('u'),
      () => manager.ready(),
      () => manager.handleUpgrade({}, {}),
    ];
    for (const call of later) await expect(call()).rejects.toEqual(error);
    connection.send('x');
    await closed;
    for (const call of later) await expect(call()).rejects.toEqual(error);
    expect(connection.send('x')).toBe(false);
    expect([manager.connections.broadcast('x'), manager.connections.sendToUser('u', 'x')]).toEqual([0, 0]);
    expect([...manager.connections, ...manager.connections.users()]).toEqual([]);
    expect(manager.stats()).toMatchObject({ connections: 0, users: 0, opened: 1, closed: { 1001: 1 } });
  });

  test('with drainMs delivers what is sent to connections that are still open', async () => {
    const { manager, pair, refused } = await host({ relay: false });
    manager.on('message', (connection, text) => manager.sendToUser(connection.userId, text));
    const pairs = [await pair(), await pair()];
    const closed = manager.close({ drainMs: 60_000 });
    const [gone] = await once(manager, 'disconnect');
    const { client, connection } = pairs.find((each) => each.connection !== gone);
    const { userId } = connection;
    await manager.sendToUser(userId, '1');
    await manager.broadcast('2');
    expect(manager.connections.sendToUser(userId, '3')).toBe(1);
    expect(manager.connections.broadcast('4')).toBe(1);
    client.send('5');
    for (const text of ['1', '2', '3', '4', '5']) expect(await client.next()).toBe(text);
    expect([await manager.isOnline(userId), await manager.isOnline(gone.userId)]).toEqual([true, false]);
    expect(await refused()).toMatchObject({ status: 503, body: { code: 'ERR_SHUTTING_DOWN' } });
    await expect(manager.handleUpgrade({}, {})).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    await client.close();
    await closed;
    await expect(manager.sendToUser(userId, 'x')).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    expect(manager.connections.broadcast('x')).toBe(0);
  });

  test.each([
    [
      'TypeError',
      'ERR_INVALID_ARG',
      [
        ...[null, 5, 'now', [], new Map([['drainMs', 5]]), new Set()],
        ...[{ drainMs: '5' }, { code: '1001' }, { reason: 5 }],
      ],
    ],
    ['TypeError', 'ERR_UNKNOWN_OPTION', [{ drain: 5 }]],
    [
      'RangeError',
      'ERR_ARG_OUT_OF_RANGE',
      [
        { drainMs: -1 },
        { drainMs: 0.5 },
        { drainMs: 1e9 },
        { code: 1005 },
        { code: 1014 },
        { code: 5000 },
        { reason: 'ä'.repeat(62) },
      ],
    ],
  ])('rejects with %s %s and closes nothing', async (name, code, values) => {
    const { manager, connect: open } = await host();
    for (const value of values) await expect(manager.close(value)).rejects.toMatchObject({ name, code });
    await open();
  });

  test('is what `await using` does', async () => {
    const { manager } = await host();
    await manager[Symbol.asyncDispose]();
    await expect(manager.ready()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  test('may be called from any listener', async () => {
    for (const event of ['connection', 'message', 'disconnect']) {
      const { manager, connect: open } = await host();
      const closed = new Promise((resolve) => {
        manager.on(event, () => resolve(manager.close()));
      });
      const client = await open();
      client.send('1');
      if (event === 'disconnect') client.close();
      await closed;
    }
  });
});

describe('ready', () => {
  test('does not wait for the server to listen', async () => {
    await manage(http.createServer()).ready();
  });
});

describe('names', () => {
  test('find a manager, and only one', async () => {
    const { manager, server } = await host();
    expect(getWebSocketManager()).toBe(manager);
    expect(() => new WebSocketManager(server, { auth: 'anonymous' })).toThrow(
      expect.objectContaining({
        name: 'Error',
        code: 'ERR_NAME_TAKEN',
        message: expect.stringContaining('await close() of the other one'),
      }),
    );
    const other = manage(server, { name: 'other', path: '/other' });
    expect(getWebSocketManager('other')).toBe(other);
  });

  test('are free again once their manager is closed', async () => {
    const { manager, server } = await host();
    await manager.close();
    expect(() => getWebSocketManager()).toThrow(expect.objectContaining({ code: 'ERR_NO_MANAGER' }));
    expect(getWebSocketManager.bind(null, 'default')).toThrow('new WebSocketManager(server)');
    expect(manage(server)).toBe(getWebSocketManager());
  });

  test.each([[5], [null], [{}]])('can not be %p', (name) => {
    expect(() => getWebSocketManager(name)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG' }));
  });

  test('are shared by all copies of the module', async () => {
    const { manager, server, port } = await host({ relay: false });
    await jest.isolateModulesAsync(async () => {
      const copy = require('..');
      expect(copy.WebSocketManager).not.toBe(WebSocketManager);
      expect(copy.getWebSocketManager()).toBe(manager);
      const second = new copy.WebSocketManager(server, { name: 'copy', path: '/copy', auth: 'anonymous' });
      closeAfterwards(() => second.close());
      expect(getWebSocketManager('copy')).toBe(second);
    });
    // Both know that nobody but them listens.
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest('/nobody'));
    expect(await client.said('\r\n\r\n')).toMatch(/^HTTP\/1\.1 404 [\s\S]*\r\nCache-Control: no-store\r\n/);
  });

  test('are shared by copies of the whole package in other folders, each with its own addon', async () => {
    const root = join(__dirname, '..');
    const folder = await mkdtemp(join(tmpdir(), 'actory-copy-'));
    closeAfterwards(() => rm(folder, { recursive: true }));
    const parts = (await readdir(root)).filter((name) =>
      /^(index\.js|lib|package\.json|.*\.node)$/.test(name),
    );
    await Promise.all(parts.map((name) => cp(join(root, name), join(folder, name), { recursive: true })));
    const { line, exit } = program('copies.js', { env: { COPY: folder } });
    expect([await line(), await line(), await line(), await line()]).toEqual([
      'two copies',
      'one manager',
      '1 connection got hello',
      'ERR_NAME_TAKEN',
    ]);
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });

  test('of a registry of another release are refused', () => {
    jest.isolateModules(() => {
      const { registry } = require('../lib/registry');
      const key = Symbol.for('@actory/websocket');
      const descriptor = Object.getOwnPropertyDescriptor(globalThis, key);
      expect(descriptor.writable).toBe(false);
      expect(registry().version).toBe(4);
    });
  });
});

describe('a process', () => {
  test('ends by itself after the server was closed, with clients still there', async () => {
    const { exit, line } = program('server.js', { env: { THEN: 'close' } });
    expect(await line()).toBe('client closed 1001');
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });

  test('ends by itself after close() of a manager whose server never listened', async () => {
    const { exit } = program('unlistened.js');
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });

  test('that gets SIGTERM with connections open tells them and ends', async () => {
    const { child, exit, line } = program('server.js', { env: { THEN: 'wait' } });
    expect(await line()).toBe('ready');
    child.kill('SIGTERM');
    expect(await line()).toBe('client closed 1001');
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });

  test('that has no handler for SIGTERM dies of it', async () => {
    const { child, exit, line } = program('server.js', { env: { THEN: 'die' } });
    expect(await line()).toBe('ready');
    child.kill('SIGTERM');
    expect(await exit).toMatchObject({ code: null, signal: 'SIGTERM' });
  });

  test('may leave by process.exit with connections open', async () => {
    const { exit, line } = program('server.js', { env: { THEN: 'exit' } });
    expect(await line()).toBe('ready');
    expect(await exit).toEqual({ code: 3, signal: null, errors: '' });
  });

  test('outlives whatever its listeners throw, and promises that nobody awaits', async () => {
    const { exit, line } = program('careless.js');
    expect(await line()).toBe('alive');
    const { code, errors } = await exit;
    expect(code).toBe(0);
    // Of those that follow within a second it is not told.
    expect(errors).toContain('[ERR_LISTENER]');
    expect(errors).toContain('from connection');
  });

  test('dies of what a nextTick callback of its own throws, as ever', async () => {
    const { exit } = program('careless.js', { env: { TICK: '1' } });
    const { code, errors } = await exit;
    expect(code).not.toBe(0);
    expect(errors).toContain('from a tick');
  });

  test('is told once that its servers do not reach each other, unless it says so itself', async () => {
    const { exit } = program('unlistened.js', { env: { REDIS: 'unsaid' } });
    const { code, errors } = await exit;
    expect(code).toBe(0);
    expect(errors.match(/\[ACTORY_WS_SINGLE_SERVER\]/g)).toHaveLength(1);
  });

  test('without the addon is told what to do', async () => {
    const { exit } = program('no-addon.js');
    const { code, errors } = await exit;
    expect([code, errors]).toEqual([0, '']);
  });
});

describe('modules', () => {
  test('are one, for require and import', async () => {
    const { exit } = program('imports.mjs');
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });

  test('work in worker threads, each with managers of its own', async () => {
    const { exit, line } = program('workers.js');
    for (const text of ['worker echoed', 'main echoed', 'worker left, main echoed'])
      expect(await line()).toBe(text);
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });
});

test('a server of many managers that come and go has no listeners left', async () => {
  const server = await listening(http.createServer());
  for (let i = 0; i < 20; i += 1) {
    const manager = new WebSocketManager(server, { auth: 'anonymous', redis: false, threads: 1 });
    await manager.close();
  }
  expect(server.eventNames()).not.toContain('upgrade');
});

test('a server of many managers has room for as many listeners of the application as any other', async () => {
  const { exit, line } = program('crowd.js');
  expect([await line(), await line(), await line()]).toEqual(['limit 11', 'listeners 10 9', 'limit 10']);
  expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
});

test('a limit of listeners that the application sets stays as it is', async () => {
  const server = http.createServer().setMaxListeners(0);
  const first = manage(server);
  expect(server.getMaxListeners()).toBe(0);
  server.setMaxListeners(30);
  await first.close();
  expect(server.getMaxListeners()).toBe(30);
});

test('a manager that was closed is collected, with all that its listeners hold', async () => {
  const { exit, line } = program('collected.js', { args: ['--expose-gc'] });
  expect(await line()).toBe('left: ');
  expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
});
