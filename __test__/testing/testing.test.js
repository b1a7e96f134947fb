'use strict';

const { createServer } = require('node:http');
const { join } = require('node:path');
const { WebSocket } = require('ws');
const { createTestServer } = require('../../testing');
const { getWebSocketManager } = require('../..');
const { closeAfterwards } = require('../support/cleanup');
const { run } = require('../support/program');
const { connect: connectPlain } = require('../support/client');

/** A test server that is closed after the test. */
async function start(options) {
  const app = await createTestServer(options);
  closeAfterwards(app.close);
  return app;
}

afterEach(() => jest.useRealTimers());

describe('connect', () => {
  test('resolves with a client of that user that is open', async () => {
    const { connect, manager } = await start();
    const ada = await connect('ada');
    expect([ada.status, ada.userId]).toEqual(['open', 'ada']);
    expect(await manager.isOnline('ada')).toBe(true);
    expect((await connect(7)).userId).toBe('7');
  });

  test('without a user it sends no token, and rejects with the reason of the refusal', async () => {
    const { connect, manager } = await start();
    await expect(connect()).rejects.toMatchObject({
      code: 'ERR_TOKEN_MISSING',
      message: expect.stringContaining('carries no token'),
    });
    expect(Object.keys(manager.stats().refused)).toEqual(['ERR_TOKEN_MISSING']);
  });

  test.each(['http', 'close'])(
    'rejects with the reason of a token that is refused by %s',
    async (rejectWith) => {
      const { connect, tokenFor } = await start({ rejectWith });
      await expect(connect('ada', { token: 'none' })).rejects.toMatchObject({ code: 'ERR_TOKEN_INVALID' });
      const token = tokenFor('ada', { exp: 1 });
      await expect(connect('ada', { token })).rejects.toMatchObject({ code: 'ERR_TOKEN_EXPIRED' });
      expect((await connect('ada')).status).toBe('open');
    },
  );

  test('rejects with the code of a connection that a listener closes at once', async () => {
    const { connect, manager } = await start();
    manager.on('connection', (connection) => connection.close(4002, 'not you'));
    const failed = await connect('ada')
      .then(
        (client) => client.next(),
        (error) => error,
      )
      .catch((error) => error);
    expect(failed).toMatchObject({ code: 'ERR_CLOSED', closeCode: 4002, reason: 'not you' });
  });

  test('rejects with the error of a token function', async () => {
    const { connect } = await start();
    const cause = new Error('no token today');
    const token = () => Promise.reject(cause);
    await expect(connect('ada', { token })).rejects.toMatchObject({ code: 'ERR_TOKEN', cause });
  });

  test('rejects after timeoutMs where a handshake takes too long', async () => {
    const auth = { authenticate: () => new Promise(() => {}) };
    const { connect } = await start({ auth, timeoutMs: 20 });
    await expect(connect()).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
  });

  test('rejects once the server closes, and after that', async () => {
    const auth = { authenticate: () => new Promise(() => {}) };
    const { connect, close } = await start({ auth });
    const first = connect();
    const closed = close();
    await expect(first).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    await closed;
    await expect(connect()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  test.each([
    [['', {}], 'ERR_ARG_OUT_OF_RANGE'],
    [[null, {}], 'ERR_INVALID_ARG'],
    [['ada', { tokens: 'x' }], 'ERR_UNKNOWN_OPTION'],
    [['ada', { WebSocket: 'ws' }], 'ERR_INVALID_OPTION'],
  ])('rejects for %j with %s', async (args, code) => {
    const { connect } = await start();
    await expect(connect(...args)).rejects.toMatchObject({ code });
  });
});

describe('a client', () => {
  test('hands on the data of messages, one after another', async () => {
    const { connect, manager } = await start();
    const ada = await connect('ada');
    const first = ada.next();
    await manager.sendToUser('ada', { n: 1 });
    await manager.sendToUser('ada', { n: 2 });
    expect(await first).toEqual({ n: 1 });
    expect(await ada.next()).toStrictEqual({ n: 2 });
    await manager.sendToUser('ada', new Uint8Array([1, 2]));
    expect([...(await ada.next())]).toEqual([1, 2]);
    expect(ada.messages.slice(0, 2)).toEqual([{ n: 1 }, { n: 2 }]);
  });

  test('takes what a predicate accepts, and leaves the others to who asks next', async () => {
    const { connect, manager } = await start();
    const ada = await connect('ada');
    const [second, third] = [ada.next(({ n }) => n === 2), ada.next((_data, { topic }) => topic === 'user')];
    for (const n of [1, 2, 3]) await manager.sendToUser('ada', { n });
    expect([await second, await third, await ada.next()]).toEqual([{ n: 2 }, { n: 1 }, { n: 3 }]);
  });

  test('says what did come when a message does not', async () => {
    const { connect, manager } = await start();
    const ada = await connect('ada');
    await expect(ada.next({ timeoutMs: 5 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
      message: 'No message within 5 ms. Nothing came',
    });
    for (let n = 0; n < 12; n += 1) await manager.sendToUser('ada', { n });
    await ada.next(({ n }) => n === 11);
    const { message } = await ada.next(() => false, { timeoutMs: 5 }).catch((error) => error);
    expect(message).toMatch(
      /^No message that the predicate accepts within 5 ms\. Came so far:\n {2}2 more\n {2}\{ n: 2 \}\n/,
    );
    expect(message).toMatch(/\n {2}\{ n: 10 \}\n {2}\{ n: 11 \} \(taken before\)$/);
  });

  test('rejects with the error of a predicate, which keeps the message for others', async () => {
    const { connect, manager } = await start();
    const ada = await connect('ada');
    const wrong = ada.next(() => {
      throw new Error('mine');
    });
    const right = ada.next();
    await manager.sendToUser('ada', 1);
    await expect(wrong).rejects.toThrow('mine');
    expect(await right).toBe(1);
  });

  test('tells who waits the code that the server closed it with, once all is taken', async () => {
    const { connect, manager } = await start();
    const ada = await connect('ada');
    await manager.sendToUser('ada', 'last');
    await manager.disconnectUser('ada', 4002, 'out');
    await expect(ada.next(() => false)).rejects.toMatchObject({
      code: 'ERR_CLOSED',
      closeCode: 4002,
      reason: 'out',
    });
    expect(await ada.next()).toBe('last');
    await expect(ada.next()).rejects.toMatchObject({ closeCode: 4002 });
    ada.reconnect();
    const again = ada.next();
    await new Promise((resolve) => ada.on('status', (status) => status === 'open' && resolve()));
    await manager.sendToUser('ada', 'back');
    expect(await again).toBe('back');
  });

  test('comes back with a fresh token', async () => {
    const { connect, manager } = await start({ history: false });
    const ada = await connect('ada');
    const back = new Promise((resolve) => ada.on('status', (status) => status === 'open' && resolve()));
    await manager.disconnectUser('ada', 4001);
    await back;
    await manager.sendToUser('ada', 'again');
    expect(await ada.next()).toBe('again');
  });

  test.each([
    [['x'], 'ERR_INVALID_ARG'],
    [[null], 'ERR_INVALID_ARG'],
    [[{ timeoutMs: '1' }], 'ERR_INVALID_OPTION'],
    [[undefined, { timeoutMs: 0 }], 'ERR_OPTION_OUT_OF_RANGE'],
  ])('rejects for next(...%j) with %s', async (args, code) => {
    const { connect } = await start();
    await expect((await connect('ada')).next(...args)).rejects.toMatchObject({ code });
  });
});

describe('tokenFor', () => {
  test('signs claims that become the data of the connection', async () => {
    const { connect, manager, tokenFor } = await start();
    const met = new Promise((resolve) => manager.on('connection', resolve));
    await connect('ada', { token: tokenFor('ada', { role: 'admin' }) });
    expect((await met).data).toMatchObject({ sub: 'ada', role: 'admin' });
  });

  test('signs as the options of the application ask for', async () => {
    const jwt = {
      secret: Buffer.alloc(48, 'x'),
      algorithms: ['HS384'],
      issuer: ['us', 'them'],
      audience: 'app',
      userIdClaim: 'uid',
    };
    const { connect } = await start({ auth: { jwt } });
    expect((await connect('ada')).userId).toBe('ada');
  });

  test.each(['anonymous', { authenticate: () => ({ userId: 'eve' }) }])(
    'throws where there is no secret, and says what to do: %j',
    async (auth) => {
      const { connect, tokenFor } = await start({ auth });
      const error = { code: 'ERR_INVALID_OPTION', message: expect.stringContaining('"auth.jwt.secret"') };
      expect(() => tokenFor('ada')).toThrow(expect.objectContaining(error));
      await expect(connect('ada')).rejects.toMatchObject(error);
      expect((await connect()).status).toBe('open');
      expect((await connect('ada', { token: 'x' })).status).toBe('open');
    },
  );

  test.each([
    [[undefined], 'ERR_INVALID_ARG'],
    [[''], 'ERR_ARG_OUT_OF_RANGE'],
    [['ada', 'admin'], 'ERR_INVALID_ARG'],
  ])('throws for %j %s', async (args, code) => {
    const { tokenFor } = await start();
    expect(() => tokenFor(...args)).toThrow(expect.objectContaining({ code }));
  });
});

describe('the server', () => {
  test('several are in one process, each with its users; the first has the default name', async () => {
    const apps = await Promise.all([start(), start(), start({ name: 'mine' }), start()]);
    expect(apps.map(({ manager }) => manager.name)).toEqual(['default', 'test-2', 'mine', 'test-3']);
    expect(getWebSocketManager()).toBe(apps[0].manager);
    const clients = await Promise.all(apps.map(({ connect }) => connect('ada')));
    await Promise.all(apps.map(({ manager }) => manager.sendToUser('ada', manager.name)));
    expect(await Promise.all(clients.map((client) => client.next()))).toEqual(
      apps.map(({ manager }) => manager.name),
    );
  });

  test('is that of the application if one is given, listening or not', async () => {
    for (const listens of [false, true]) {
      const server = createServer((_request, response) => response.end('ours'));
      if (listens) await new Promise((resolve) => server.listen(0, resolve));
      const app = await start({ server });
      expect(app.server).toBe(server);
      const response = await fetch(app.url.replace('ws:', 'http:').replace('/api/websocket', '/'));
      expect(await response.text()).toBe('ours');
      expect((await app.connect('ada')).status).toBe('open');
      await app.close();
      expect(server.listening).toBe(false);
    }
  });

  test('answers others with 404 if it is its own', async () => {
    const { url } = await start({ path: '/live' });
    expect(url).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/live$/);
    expect((await fetch(url.replace('ws:', 'http:'))).status).toBe(404);
  });

  test('has no Redis unless it is given, whatever REDIS_URL says', async () => {
    const { REDIS_URL } = process.env;
    process.env.REDIS_URL = 'redis://127.0.0.1:1';
    try {
      const { connect } = await start();
      expect((await connect('ada')).status).toBe('open');
      const redis = { url: 'redis://127.0.0.1:1' };
      await expect(createTestServer({ redis })).rejects.toMatchObject({ code: 'ERR_BROKER_CONNECT' });
    } finally {
      if (REDIS_URL === undefined) delete process.env.REDIS_URL;
      else process.env.REDIS_URL = REDIS_URL;
    }
  });

  test.each([
    [null, 'ERR_INVALID_ARG'],
    [{ timeoutMs: -1 }, 'ERR_OPTION_OUT_OF_RANGE'],
    [{ timeoutMs: '1s' }, 'ERR_INVALID_OPTION'],
    [{ serve: 1 }, 'ERR_UNKNOWN_OPTION'],
    [{ server: {} }, 'ERR_INVALID_SERVER'],
    [{ server: null }, 'ERR_INVALID_SERVER'],
  ])('rejects the options %j with %s, and leaves nothing', async (options, code) => {
    await expect(createTestServer(options)).rejects.toMatchObject({ code });
    expect((await start()).manager.name).toBe('default');
  });

  test('that listens on a path of the file system is refused, and closed', async () => {
    const server = createServer();
    const path = join(process.env.TMPDIR ?? '/tmp', `actory-testing-${process.pid}.sock`);
    await new Promise((resolve) => server.listen(path, resolve));
    await expect(createTestServer({ server })).rejects.toMatchObject({ code: 'ERR_INVALID_SERVER' });
    expect(server.listening).toBe(false);
  });
});

describe('close', () => {
  test("ends clients, manager and server, and connections that are nobody's", async () => {
    const app = await createTestServer({ auth: 'anonymous' });
    const [own, plain, response] = await Promise.all([
      app.connect(),
      connectPlain(app.url),
      fetch(app.url.replace('ws:', 'http:')),
    ]);
    await response.text();
    const waits = own.next();
    expect(app.close()).toBe(app.close());
    await app.close();
    await expect(waits).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    expect([own.status, app.server.listening]).toEqual(['closed', false]);
    await plain.closed;
    await expect(app.manager.ready()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  test('waits until connections have ended on their side, too', async () => {
    const { connect, close } = await createTestServer();
    const sockets = [];
    class Slow extends WebSocket {
      constructor(...args) {
        super(...args);
        sockets.push(this);
        // Ends later than the server's side, as under load.
        const emit = this.emit;
        this.emit = (name, ...rest) => {
          if (name !== 'close') return emit.call(this, name, ...rest);
          return setTimeout(() => emit.call(this, name, ...rest), 50);
        };
        this.on('close', () => sockets.splice(sockets.indexOf(this), 1));
      }
    }
    await Promise.all([connect('ada', { WebSocket: Slow }), connect('bob', { WebSocket: Slow })]);
    expect(sockets).toHaveLength(2);
    await close();
    expect(sockets).toEqual([]);
  });

  test('does no harm after the application has closed both itself', async () => {
    const { close, manager, server, connect } = await createTestServer();
    await connect('ada');
    await manager.close();
    await new Promise((resolve) => server.close(resolve));
    await close();
  });

  test('jest --detectOpenHandles finds nothing after it', async () => {
    const jest = join(__dirname, '../../node_modules/jest/bin/jest.js');
    const rootDir = join(__dirname, 'programs');
    const config = JSON.stringify({ rootDir, testMatch: ['**/*.spec.js'] });
    const { exit } = run(process.execPath, [jest, '--detectOpenHandles', '--config', config]);
    const { code, errors } = await exit;
    expect(errors).toMatch(/3 passed/);
    expect(errors).not.toMatch(/open handle/);
    expect(code).toBe(0);
  }, 60_000);
});

describe('with faked timers', () => {
  const kinds = [
    ['of default', undefined],
    ['at another time', { now: new Date('2001-01-01') }],
  ];
  test.each(kinds)('%s everything works, and waiting ends', async (_kind, options) => {
    jest.useFakeTimers(options);
    const { connect, manager, close } = await start();
    const ada = await connect('ada');
    await manager.sendToUser('ada', 'hello');
    expect(await ada.next()).toBe('hello');
    await expect(ada.next({ timeoutMs: 5 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    await expect(connect('ada', { token: 'x' })).rejects.toMatchObject({ code: 'ERR_TOKEN_INVALID' });
    await close();
  });

  test('a client outlives hours that a test advances them by, and comes back without', async () => {
    const { connect, manager } = await start();
    jest.useFakeTimers();
    const ada = await connect('ada');
    const statuses = [];
    ada.on('status', (status) => statuses.push(status));
    jest.advanceTimersByTime(7_200_000);
    await manager.sendToUser('ada', 'still here');
    expect(await ada.next()).toBe('still here');
    expect(statuses).toEqual([]);
    const back = new Promise((resolve) => ada.on('status', (status) => status === 'open' && resolve()));
    await manager.disconnectUser('ada', 1012);
    await back;
  });
});
