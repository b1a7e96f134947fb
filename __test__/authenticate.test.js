'use strict';

const { once } = require('node:events');
const v8 = require('node:v8');
const vm = require('node:vm');
const { UpgradeRefusal } = require('..');
const { host } = require('./support/host');
const { RawClient, connect, refused, upgradeRequest } = require('./support/client');

const asking = (authenticate, options) => host({ relay: false, ...options, auth: { authenticate } });

test('the request of an upgrade that waits for authenticate is the application’s alone to keep', async () => {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  let headers;
  const { manager, port } = await asking(
    (request) => {
      headers = new WeakRef(request.headers);
      return new Promise(() => {});
    },
    { limits: { handshakeTimeoutMs: 60_000 } },
  );
  const client = new RawClient(port);
  client.write(upgradeRequest('/api/websocket', { 'X-Large': 'x'.repeat(10_000) }));
  do {
    await new Promise(setImmediate);
    gc();
  } while (headers === undefined || headers.deref() !== undefined);
  expect(manager.stats()).toMatchObject({ handshakes: 1, connections: 0 });
});

describe('an UpgradeRefusal', () => {
  const refusal = () =>
    new UpgradeRefusal({
      status: 402,
      code: 'PLAN_EXPIRED',
      reason: 'Your plan has ended',
      headers: { 'Retry-After': '5', 'Set-Cookie': ['a=; Max-Age=0', 'b=; Max-Age=0'] },
    });
  const ways = [
    ['returned', () => refusal()],
    [
      'thrown',
      () => {
        throw refusal();
      },
    ],
    ['resolved with', async () => refusal()],
    ['rejected with', () => Promise.reject(refusal())],
  ];

  test.each(ways)('that is %s is what the client gets', async (_way, authenticate) => {
    const { manager, url } = await asking(authenticate);
    const failed = jest.fn();
    manager.on('error', failed);
    const told = once(manager, 'refused');
    const answer = await refused(url);
    expect(answer).toMatchObject({
      status: 402,
      headers: { 'retry-after': '5', 'set-cookie': ['a=; Max-Age=0', 'b=; Max-Age=0'] },
      body: { code: 'PLAN_EXPIRED', message: 'Your plan has ended' },
    });
    expect(await told).toMatchObject([{ code: 'PLAN_EXPIRED', message: 'Your plan has ended' }]);
    expect(manager.stats().refused).toEqual({ ERR_REFUSED: 1 });
    expect(failed).not.toHaveBeenCalled();
  });

  test('of another copy of the package counts, too', async () => {
    let Other;
    jest.isolateModules(() => {
      ({ UpgradeRefusal: Other } = require('../lib/upgrade-refusal'));
    });
    expect(Other).not.toBe(UpgradeRefusal);
    const { url } = await asking(() => new Other({ status: 429 }));
    expect(await refused(url)).toMatchObject({
      status: 429,
      body: { code: 'ERR_REFUSED', message: 'not permitted' },
    });
  });

  test.each([
    [undefined, 4403, 'ERR_REFUSED'],
    [{ status: 402, code: 'PLAN_EXPIRED' }, 4402, 'PLAN_EXPIRED'],
    [{ status: 503, closeCode: 4777, code: 'a.b:c-d' }, 4777, 'a.b:c-d'],
  ])('%p is a close code where rejectWith says so', async (options, code, reason) => {
    const { url } = await asking(() => new UpgradeRefusal(options), { rejectWith: 'close' });
    const client = await connect(url);
    expect(await client.closed).toEqual({ code, reason });
  });

  const TOLD = Symbol.for('@actory/websocket/upgrade-refusal/1');
  const told = { status: 403, code: 'X', reason: '', closeCode: 4403, headers: [] };
  test.each([
    ['a text', { [TOLD]: 'x y' }],
    ['a status of its own', { [TOLD]: { ...told, status: 200 } }],
    ['a code with a line break', { [TOLD]: { ...told, code: 'a\r\nb' } }],
    ['a header with a line break', { [TOLD]: { ...told, headers: ['a', 'b\r\nc: d'] } }],
    ['headers that are none', { [TOLD]: { ...told, headers: [1, 2] } }],
    [
      'an answer to every key',
      new Proxy(
        { userId: '1' },
        { get: (user, key) => (key === 'then' ? undefined : (user[key] ?? (() => {}))) },
      ),
    ],
  ])('is not what only looks like one, with %s', async (_what, answer) => {
    const { manager, url } = await asking(async () => answer);
    const failed = once(manager, 'error');
    expect(await refused(url)).toMatchObject({ status: 500, body: { code: 'ERR_INVALID_IDENTITY' } });
    expect(await failed).toMatchObject([{ code: 'ERR_INVALID_IDENTITY' }]);
  });

  test('has its own Cache-Control in place of ours', async () => {
    const { url } = await asking(() => new UpgradeRefusal({ headers: { 'Cache-Control': 'max-age=5' } }));
    expect((await refused(url)).headers['cache-control']).toBe('max-age=5');
  });

  test('is what handleUpgrade rejects with', async () => {
    const given = refusal();
    const { server, manager, port } = await asking(() => given);
    const called = new Promise((resolve) => {
      server.on('upgrade', (...upgrade) => resolve(manager.handleUpgrade(...upgrade)));
    });
    called.catch(() => {});
    expect(await refused(`ws://127.0.0.1:${port}/mine`)).toMatchObject({ status: 402 });
    await expect(called).rejects.toBe(given);
  });

  test('is an error that says what it is', () => {
    expect(refusal()).toMatchObject({
      name: 'UpgradeRefusal',
      message: 'Your plan has ended',
      status: 402,
      code: 'PLAN_EXPIRED',
      closeCode: 4402,
    });
    expect(refusal()).toBeInstanceOf(Error);
    expect(new UpgradeRefusal()).toMatchObject({
      status: 403,
      code: 'ERR_REFUSED',
      closeCode: 4403,
      message: 'not permitted',
    });
  });

  test.each([
    [{ status: '402' }, 'ERR_INVALID_ARG'],
    [{ status: 200 }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ status: 600 }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ code: 1 }, 'ERR_INVALID_ARG'],
    [{ code: '' }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ code: 'two words' }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ code: 'ERR_UNAUTHORIZED' }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ code: 'x'.repeat(65) }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ reason: 1 }, 'ERR_INVALID_ARG'],
    [{ reason: 'x'.repeat(1025) }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ closeCode: 1008 }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ closeCode: 5000 }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ headers: { Upgrade: 'x' } }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ headers: { 'Content-Encoding': 'gzip' } }, 'ERR_ARG_OUT_OF_RANGE'],
    [{ headers: 1 }, 'ERR_INVALID_ARG'],
    [{ message: 'x' }, 'ERR_UNKNOWN_OPTION'],
    ['no', 'ERR_INVALID_ARG'],
  ])('can not be made of %p', (options, code) => {
    expect(() => new UpgradeRefusal(options)).toThrow(expect.objectContaining({ code }));
  });
});

describe('headers of an identity', () => {
  test.each([
    ['an object', { 'Set-Cookie': ['a=1', 'b=2'], 'X-Node': 'one' }],
    [
      'Headers',
      new Headers([
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
        ['X-Node', 'one'],
      ]),
    ],
    [
      'pairs',
      [
        ['Set-Cookie', 'a=1'],
        ['X-Node', 'one'],
        ['Set-Cookie', 'b=2'],
      ],
    ],
  ])('go with the 101, as %s', async (_what, headers) => {
    const { url } = await asking(() => ({ userId: 'ada', headers }));
    const client = connect(url);
    const { socket } = await client;
    const upgraded = once(new (require('ws'))(url), 'upgrade');
    const [response] = await upgraded;
    expect(response.headers).toMatchObject({ 'set-cookie': ['a=1', 'b=2'], 'x-node': 'one' });
    socket.terminate();
    response.destroy();
  });

  test('go with the 101 of handleUpgrade, too, in Latin-1', async () => {
    const { server, manager, port } = await asking(() => null);
    server.on('upgrade', (req, socket, head) => {
      manager.handleUpgrade(req, socket, head, { userId: 1, headers: { 'X-Name': 'café' } });
    });
    const client = new RawClient(port);
    client.socket.write(upgradeRequest('/mine'));
    expect(await client.said('\r\n\r\n')).toContain('\r\nX-Name: café\r\n');
  });

  test.each([
    ['a line break', { 'X-A': 'a\r\nSet-Cookie: b=1' }],
    ['a line feed', { 'X-A': 'a\nb' }],
    ['a name that is none', { 'X A': 'a' }],
    ['a name with a line break', { 'X-A: b\r\nX-B': 'a' }],
    ['a character beyond Latin-1', { 'X-A': '€' }],
    ['no string', { 'X-A': 1 }],
    ['no pairs', ['X-A']],
    ['more than 8,192 bytes', { 'X-A': 'a'.repeat(8192) }],
    ...[
      'Connection',
      'UPGRADE',
      'Content-Length',
      'Transfer-Encoding',
      'Keep-Alive',
      'Sec-WebSocket-Accept',
      'sec-websocket-protocol',
      'Sec-WebSocket-Extensions',
    ].map((name) => [name, { [name]: 'x' }]),
  ])('with %s are no identity', async (_what, headers) => {
    const { manager, url } = await asking(() => ({ userId: 'ada', headers }));
    const failed = once(manager, 'error');
    expect(await refused(url)).toMatchObject({ status: 500, body: { code: 'ERR_INVALID_IDENTITY' } });
    expect((await failed)[0]).toMatchObject({ code: 'ERR_INVALID_IDENTITY' });
  });

  test('that are refused are not shown with their values', async () => {
    const { manager, url } = await asking(() => ({ userId: 'ada', headers: { 'Set-Cookie': 'hunter2\n' } }));
    const failed = once(manager, 'error');
    await refused(url);
    expect((await failed)[0].message).not.toContain('hunter2');
  });
});

describe('the protocol of an identity', () => {
  test('is agreed on, whatever the option says', async () => {
    const { pair } = await asking(() => ({ userId: 'ada', protocol: 'v2' }), { protocols: ['v1'] });
    const { client, connection } = await pair({ protocols: ['v1', 'v2'] });
    expect([client.socket.protocol, connection.protocol]).toEqual(['v2', 'v2']);
  });

  test('is agreed on by handleUpgrade, too', async () => {
    const { server, manager, port } = await asking(() => null);
    server.on('upgrade', (req, socket, head) => {
      manager.handleUpgrade(req, socket, head, { userId: 1, protocol: 'v2' });
    });
    expect((await connect(`ws://127.0.0.1:${port}/mine`, { protocols: ['v1', 'v2'] })).socket.protocol).toBe(
      'v2',
    );
  });

  test.each([
    ['was not offered', 'v3', ['v1', 'v2']],
    ['is a token', 'secret', ['bearer', 'secret']],
    ['is empty', '', ['v1']],
    ['is no string', 1, ['v1']],
  ])('that %s is no identity', async (_what, protocol, protocols) => {
    const { manager, url } = await asking(() => ({ userId: 'ada', protocol }));
    const failed = once(manager, 'error');
    expect(await refused(url, { protocols })).toMatchObject({
      status: 500,
      body: { code: 'ERR_INVALID_IDENTITY' },
    });
    const [{ message }] = await failed;
    expect(message).toContain('identity.protocol');
    expect(message).not.toContain('secret');
  });

  test('that is a token behind an empty element is no identity either', async () => {
    const { manager, port } = await asking(() => ({ userId: 'ada', protocol: 'secret' }));
    const failed = once(manager, 'error');
    const client = new RawClient(port);
    client.write(upgradeRequest(undefined, { 'Sec-WebSocket-Protocol': 'bearer,,secret' }));
    expect(await client.said('}')).toContain('ERR_INVALID_IDENTITY');
    await failed;
  });

  test('that was not offered leaves the socket of handleUpgrade untouched', async () => {
    const { server, manager, port } = await asking(() => null);
    const outcome = new Promise((resolve) => {
      server.on('upgrade', (req, socket, head) => {
        resolve(manager.handleUpgrade(req, socket, head, { userId: 1, protocol: 'v3' }));
        socket.end('HTTP/1.1 418 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      });
    });
    outcome.catch(() => {});
    expect(await refused(`ws://127.0.0.1:${port}/mine`, { protocols: ['v1'] })).toMatchObject({
      status: 418,
    });
    await expect(outcome).rejects.toMatchObject({ code: 'ERR_INVALID_IDENTITY' });
  });
});

describe('the signal of a request', () => {
  /** An `authenticate` that waits for its signal. */
  function waiting() {
    let asked;
    const asking = new Promise((resolve) => {
      asked = resolve;
    });
    const authenticate = (req) => {
      asked(req);
      return new Promise((_resolve, reject) => {
        req.signal.addEventListener('abort', () => reject(req.signal.reason));
      });
    };
    return { authenticate, request: asking };
  }
  const aborted = ({ signal }) => (signal.aborted ? undefined : once(signal, 'abort'));

  test('aborts when the client leaves, and what authenticate rejects with then is no error', async () => {
    const { authenticate, request } = waiting();
    const { manager, port } = await asking(authenticate);
    const failed = jest.fn();
    manager.on('error', failed);
    const client = new RawClient(port);
    client.socket.write(upgradeRequest());
    const req = await request;
    expect(req.signal.aborted).toBe(false);
    client.socket.destroy();
    await aborted(req);
    expect(req.signal.reason).toMatchObject({ code: 'ERR_HANDOVER' });
    await new Promise(setImmediate);
    expect(failed).not.toHaveBeenCalled();
  });

  test('aborts when the deadline passes', async () => {
    const { authenticate, request } = waiting();
    const { url } = await asking(authenticate, { limits: { handshakeTimeoutMs: 50 } });
    expect(await refused(url)).toMatchObject({ status: 408 });
    const req = await request;
    await aborted(req);
    expect(req.signal.reason).toMatchObject({ code: 'ERR_HANDSHAKE_TIMEOUT' });
  });

  test('aborts when the manager closes', async () => {
    const { authenticate, request } = waiting();
    const { manager, url } = await asking(authenticate);
    const answer = refused(url);
    const req = await request;
    await manager.close();
    expect(await answer).toMatchObject({ status: 503 });
    await aborted(req);
    expect(req.signal.reason).toMatchObject({ code: 'ERR_SHUTTING_DOWN' });
  });

  test('is aborted for who looks at it too late', async () => {
    let asked;
    const seen = new Promise((resolve) => {
      asked = resolve;
    });
    const { url } = await asking(
      (req) => {
        asked(req);
        return new Promise(() => {});
      },
      { limits: { handshakeTimeoutMs: 50 } },
    );
    await refused(url);
    const req = await seen;
    while (!req.signal.aborted) await new Promise(setImmediate);
  });

  test.each([
    ['an identity', () => ({ userId: 'ada' })],
    ['null', () => null],
    ['a refusal', () => new UpgradeRefusal()],
  ])('stays as it is after the answer, %s', async (_what, answer) => {
    let signal;
    const { manager, url } = await asking((req) => {
      signal = req.signal;
      return answer();
    });
    const { socket } = new (require('./support/client').Client)(url);
    await Promise.race([once(socket, 'open'), once(socket, 'unexpected-response')]);
    socket.terminate();
    await manager.close();
    expect(signal.aborted).toBe(false);
  });

  test('is made for those alone who look at it', async () => {
    const made = jest.spyOn(globalThis, 'AbortController');
    try {
      const { url } = await asking(({ url: target }) => ({ userId: target }));
      await connect(url);
      expect(made).not.toHaveBeenCalled();
    } finally {
      made.mockRestore();
    }
  });
});
