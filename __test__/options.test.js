'use strict';

const http = require('node:http');
const { catalogue } = require('../lib/native');
const { WebSocketManager } = require('..');
const { SECRET } = require('./support/token');

/** An integer's range: what is just outside it, and what is no integer. */
const integer = (min, max) => ({
  wrong: ['5', null, true, {}, [], () => {}, 5n],
  outside: [min - 1, max + 1, min + 0.5, Number.NaN, Number.POSITIVE_INFINITY, -Number.MAX_VALUE],
  right: [min, max, undefined],
});

const text = ['no'];
const collections = [new Map([['memoryBytes', 5]]), new Set(['x']), new URLSearchParams('path=/x')];
const notAnObject = [5, 'text', null, true, () => {}, [], new Date(0), new Uint8Array(1), ...collections];

const nonEmpty = { wrong: [5, null, {}], outside: [''], right: ['x', undefined] };

const size = integer(1, 100_000);
const ttlMs = integer(1000, 2_592_000_000);
/** No object, and no boolean. */
const notKept = notAnObject.filter((each) => each !== true);

/**
 * Every option: values of the wrong type, values of the right type that are not permitted, values that are.
 * Below `auth.jwt`, next to a secret.
 */
const OPTIONS = {
  name: {
    wrong: [5, null, {}, text],
    outside: ['', 'x'.repeat(65)],
    right: ['n', 'ä'.repeat(32), undefined],
  },
  path: {
    wrong: [5, null, text, /x/],
    outside: ['', 'ws', '/a?b', '/a#b', `/${'x'.repeat(1024)}`],
    right: ['/', '/a/b/', undefined],
  },
  keepHeaders: {
    wrong: ['user-agent', 5, null, {}, [5], [null]],
    outside: [
      [''],
      ['user agent'],
      ['a', 'A'],
      Array.from({ length: 33 }, (_, i) => `h${i}`),
      new Array(2000),
    ],
    right: [[], ['User-Agent', 'x-forwarded-for'], undefined],
  },
  protocols: {
    wrong: ['chat', 5, null, {}, [5], [null]],
    outside: [
      [''],
      ['a b'],
      ['bearer'],
      ['a', 'a'],
      Array.from({ length: 33 }, (_, i) => `p${i}`),
      new Array(2000),
    ],
    right: [[], ['chat', 'v2.chat'], undefined],
  },
  auth: {
    wrong: [
      ...[5, null, true, [], () => {}, {}, { authenticate: () => null, jwt: { secret: SECRET } }],
      ...collections,
    ],
    outside: ['', 'nobody'],
    right: ['anonymous'],
  },
  'auth.authenticate': { wrong: [5, null, 'f', {}], outside: [], right: [() => null] },
  'auth.jwt': { wrong: [...notAnObject, {}], outside: [], right: [{ secret: SECRET }] },
  'auth.jwt.secret': {
    wrong: [5, null, {}, [], new Float64Array(4), new ArrayBuffer(8)],
    outside: ['', 'x'.repeat(31), new Uint8Array(0), new Uint8Array(31)],
    right: [SECRET, Buffer.from(SECRET), new Uint8Array(32)],
  },
  'auth.jwt.publicKey': {
    wrong: [5, null, {}],
    outside: ['', 'not PEM', new Uint8Array(3)],
    right: [],
    alone: true,
  },
  'auth.jwt.algorithms': {
    wrong: ['HS256', 5, null, {}, [5]],
    outside: [[], ['none'], ['HS256', 'RS256'], ['ES512'], ['hs256']],
    // HS512 takes a secret of 64 bytes.
    right: [['HS256'], undefined],
  },
  'auth.jwt.issuer': {
    wrong: [5, null, {}, [5]],
    outside: ['', [], ['']],
    right: ['me', ['me', 'you'], undefined],
  },
  'auth.jwt.audience': {
    wrong: [5, null, true, {}, [5]],
    outside: ['', [], ['']],
    right: ['me', ['me'], false, undefined],
  },
  'auth.jwt.userIdClaim': { wrong: [5, null, text], outside: [''], right: ['uid', undefined] },
  'auth.jwt.leewaySeconds': integer(0, 300),
  'auth.jwt.requireExp': { wrong: [5, null, 'yes', {}], outside: [], right: [true, false, undefined] },
  'auth.jwt.allowShortSecret': {
    wrong: [5, null, 'yes', {}],
    outside: [],
    right: [true, false, undefined],
  },
  'auth.jwt.cookie': { wrong: [5, null, text], outside: ['', 'a b', 'a=b'], right: ['session', undefined] },
  'auth.jwt.query': { wrong: [5, null, text], outside: [''], right: ['token', undefined] },
  rejectWith: { wrong: [5, null, true, {}], outside: ['', 'silence'], right: ['http', 'close', undefined] },
  allowedOrigins: {
    wrong: [5, null, true, {}, [5]],
    outside: ['', 'https://a.example', ['a.example'], ['https://a.example/x'], ['https://*.*.example']],
    right: ['*', [], ['https://a.example', 'https://*.b.example:8443'], undefined],
  },
  trustProxy: {
    wrong: [null, true, {}, () => {}, 5n, [5], [['loopback']]],
    outside: [
      ...[0, 17, 1.5, -1, Number.NaN, Number.POSITIVE_INFINITY],
      ...['', 'everybody', 'localhost', '10.0.0', '10.0.0.0/33', '10.1.2.3/8', 'loopback, 10.0.0.1'],
      ...[[], [''], ['10.0.0.1', 'x'], new Array(2000)],
    ],
    right: [
      ...[false, 1, 16, 'loopback', '10.0.0.1', '::1', undefined],
      ['127.0.0.1', '10.0.0.0/8', 'fc00::/7', '::ffff:192.0.2.0/120', 'linklocal', 'uniquelocal', 'unix'],
    ],
  },
  proxyHeader: {
    wrong: [5, null, true, {}, ['forwarded']],
    outside: ['', 'Forwarded', 'x-real-ip'],
    right: ['x-forwarded-for', 'forwarded', undefined],
  },
  redis: {
    wrong: [5, null, true, 'redis://localhost', [], () => {}, ...collections],
    outside: [],
    right: [false, {}, undefined],
  },
  'redis.url': {
    wrong: [5, null, {}, [5]],
    outside: ['', [], [''], 'localhost:6379', 'http://localhost', ['redis://localhost', 'x']],
    right: ['redis://127.0.0.1:1', ['redis://127.0.0.1:1', 'redis://[::1]:1'], 'unix:///nowhere', undefined],
  },
  'redis.username': nonEmpty,
  'redis.password': { wrong: [5, null, {}], outside: [], right: ['x', '', undefined] },
  'redis.masterName': nonEmpty,
  'redis.prefix': {
    wrong: [5, null, {}],
    outside: ['', '{a}', 'x'.repeat(65), 'shop:user'],
    right: ['app', 'app:prod', undefined],
  },
  'redis.routing': { wrong: [5, null, {}], outside: ['', 'room'], right: ['user', 'shared', undefined] },
  'redis.connections': integer(1, 16),
  'redis.connectTimeoutMs': integer(50, 60_000),
  'redis.commandTimeoutMs': integer(100, 60_000),
  'redis.probeIntervalMs': integer(100, 60_000),
  'redis.graceMs': integer(0, 3_600_000),
  'redis.pendingBytes': integer(65_536, 4_294_967_296),
  'redis.tls': { wrong: notAnObject, outside: [], right: [{}, undefined] },
  'redis.tls.ca': { wrong: [5, null, {}], outside: [], right: [undefined] },
  'redis.tls.cert': { wrong: [5, null, {}], outside: [], right: [undefined] },
  'redis.tls.key': { wrong: [5, null, {}], outside: [], right: [undefined] },
  'redis.tls.servername': nonEmpty,
  'redis.tls.rejectUnauthorized': { wrong: [5, null, {}], outside: [], right: [true, false, undefined] },
  heartbeat: { wrong: notAnObject, outside: [], right: [{}, undefined] },
  'heartbeat.intervalMs': integer(100, 3_600_000),
  'heartbeat.timeoutMs': integer(100, 3_600_000),
  limits: { wrong: notAnObject, outside: [], right: [{}, undefined] },
  'limits.maxPayload': integer(1, 268_435_456),
  'limits.outboxBytes': integer(1024, 1_073_741_824),
  // Its lowest value needs small messages: see "needs room for two messages".
  'limits.memoryBytes': {
    ...integer(1_048_576, 1_099_511_627_776),
    right: [2_097_152, 1_099_511_627_776, undefined],
  },
  'limits.maxConnections': integer(1, 10_000_000),
  'limits.roomsPerConnection': integer(1, 1_000_000),
  'limits.handshakeTimeoutMs': integer(10, 600_000),
  'limits.closeTimeoutMs': integer(10, 600_000),
  'limits.messageTimeoutMs': integer(100, 3_600_000),
  'limits.maxUrlBytes': integer(16, 65_536),
  'limits.maxHeaderBytes': integer(256, 1_048_576),
  'limits.eventBytesPerConnection': integer(1024, 1_073_741_824),
  'limits.eventBytes': integer(65_536, 4_294_967_296),
  'limits.readBufferBytes': integer(1, 16_777_216),
  history: { wrong: notKept, outside: [], right: [true, false, {}, undefined] },
  authorize: {
    wrong: [5, true, 'rooms', null, []],
    outside: [],
    right: [{}, { join: () => true }, undefined],
  },
  'authorize.join': {
    wrong: [5, true, 'rooms', null, {}],
    outside: [],
    right: [() => true, async () => true, undefined],
  },
  'authorize.claim': { wrong: [5, true, null, ['rooms'], {}], outside: [''], right: [undefined] },
  'history.size': size,
  'history.ttlMs': ttlMs,
  'history.users': { wrong: notKept, outside: [], right: [true, false, {}, { size: 5 }, undefined] },
  'history.users.size': size,
  'history.users.ttlMs': ttlMs,
  'history.rooms': {
    wrong: [...notKept, { a: 5 }, { a: null }, { size: 5, a: true }, { a: { ttlMs: '5' } }],
    outside: [
      { 'a*': true },
      { '': true },
      { a: { size: 0 } },
      Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`r${i}`, true])),
      Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`r${i}`, true])),
    ],
    right: [
      ...[true, false, {}, { size: 5, ttlMs: 1000 }, undefined],
      { 'chat:private': false, 'chat:*': true, '**': { size: 5 }, 'a\0\ud800': true, size: { size: 3 } },
    ],
  },
  // Of another type than bounds have, it is a pattern.
  'history.rooms.size': { ...size, wrong: ['5', null, () => {}, 5n] },
  'history.rooms.ttlMs': { ...ttlMs, wrong: ['5', null, () => {}, 5n] },
  'history.trustFailover': { wrong: [5, null, 'yes', {}], outside: [], right: [true, false, undefined] },
  relay: { wrong: [5, null, true, {}, []], outside: ['', 'all'], right: ['user', 'rooms', false, undefined] },
  threads: { ...integer(1, 64), right: [1, 2, undefined] },
};

/** Options with `value` at `path`, and what else is needed for them to be complete. */
function withOption(path, value, { alone = false } = {}) {
  const base = path.startsWith('auth.jwt.')
    ? { auth: { jwt: alone ? {} : { secret: SECRET } } }
    : path.startsWith('auth.')
      ? { auth: {} }
      : { auth: 'anonymous' };
  const names = path.split('.');
  const last = names.pop();
  let place = base;
  for (const name of names) {
    place[name] ??= {};
    place = place[name];
  }
  place[last] = value;
  return base;
}

const server = http.createServer();

/** The constructor's error. */
function thrownBy(options) {
  try {
    new WebSocketManager(server, options);
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

const show = (value) => {
  try {
    return JSON.stringify(value)?.slice(0, 60) ?? String(value);
  } catch {
    return String(value);
  }
};

test('the table below has every option there is', () => {
  expect(Object.keys(OPTIONS).sort()).toEqual([...catalogue().options].sort());
});

describe.each(Object.entries(OPTIONS))('option %s', (path, { wrong, outside, right, alone }) => {
  const cases = (values) => values.map((value) => [show(value), value]);

  test.each(cases(wrong))('of the wrong type: %s', (_shown, value) => {
    const error = thrownBy(withOption(path, value, { alone }));
    expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_OPTION' });
    expect(error.message).toContain(path);
    expect(error.message).toMatch(/must be .+, got /);
  });

  if (outside.length > 0) {
    test.each(cases(outside))('not permitted: %s', (_shown, value) => {
      const error = thrownBy(withOption(path, value, { alone }));
      expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_OPTION_OUT_OF_RANGE' });
      expect(error.message).toContain(path);
    });
  }

  if (right.length > 0) {
    test.each(cases(right))('permitted: %s', async (_shown, value) => {
      const manager = new WebSocketManager(server, { threads: 1, ...withOption(path, value) });
      await manager.close();
    });
  }
});

describe('options', () => {
  test.each(notAnObject.map((each) => [each]))('can not be %p', (options) => {
    expect(thrownBy(options)).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_OPTION' });
  });

  test.each([
    [{ pth: '/x' }, 'path'],
    [{ cluster: {} }, undefined],
    [{ redis: { uri: 'redis://localhost' } }, 'redis.url'],
    [{ limits: { maxPayLoad: 1 } }, 'limits.maxPayload'],
    [{ heartbeat: { interval: 1 } }, 'heartbeat.intervalMs'],
    [{ auth: { JWT: {} } }, 'auth.jwt'],
    [{ auth: { jwt: { secret: SECRET, issuers: [] } } }, 'auth.jwt.issuer'],
    [{ maxPayload: 1 }, 'limits.maxPayload'],
    [{ history: { room: true } }, 'history.rooms'],
    [{ history: { rooms: { 'chat:*': { sizes: 5 } } } }, "history.rooms['chat:*'].size"],
    [{ 'limits.maxPayload': 1 }, undefined],
    [{ undefined: undefined }, undefined],
  ])('that do not exist are named: %j', (options, meant) => {
    const error = thrownBy({ auth: 'anonymous', ...options });
    expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_UNKNOWN_OPTION' });
    if (meant) expect(error.message).toContain(meant);
  });

  test('are required to say who may connect', () => {
    for (const options of [undefined, {}, { auth: undefined }]) {
      const error = thrownBy(options);
      expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_AUTH_REQUIRED' });
      expect(error.message).toContain('JWT_SECRET');
    }
  });

  test('never show a secret', () => {
    const secret = 'hunter2-hunter2-hunter2-hunter2-hunter2';
    for (const jwt of [
      { secret: 'hunter2' },
      { secret, publicKey: secret },
      { publicKey: secret },
      { secret: [secret] },
      { secret, algorithms: ['none'] },
    ]) {
      expect(thrownBy({ auth: { jwt } }).message).not.toContain('hunter2');
    }
  });

  test.each([['*'], [['https://a.b', 'null']]])(
    'refuse a cookie together with %p for origins',
    (allowedOrigins) => {
      const error = thrownBy({ auth: { jwt: { secret: SECRET, cookie: 'session' } }, allowedOrigins });
      expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_OPTION_OUT_OF_RANGE' });
    },
  );

  test('refuse a secret that is shorter than the hash, by option or environment, unless told otherwise', async () => {
    const short = { secret: 'x'.repeat(32), algorithms: ['HS256', 'HS384'] };
    const error = thrownBy({ auth: { jwt: short } });
    expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_OPTION_OUT_OF_RANGE' });
    expect(error.message).toMatch(/^auth\.jwt\.secret must be at least 48 bytes long for HS384/);
    expect(error.message).toContain('auth.jwt.allowShortSecret');
    await new WebSocketManager(server, { auth: { jwt: { ...short, allowShortSecret: true } } }).close();
    process.env.JWT_SECRET = 'hunter2';
    try {
      expect(thrownBy({})).toMatchObject({
        code: 'ERR_OPTION_OUT_OF_RANGE',
        message: expect.stringMatching(/32 bytes.+JWT_SECRET/),
      });
    } finally {
      delete process.env.JWT_SECRET;
    }
  });

  test('have memoryBytes be room for two messages', async () => {
    for (const larger of ['maxPayload', 'outboxBytes']) {
      const error = thrownBy({ auth: 'anonymous', limits: { memoryBytes: 5_999_999, [larger]: 3_000_000 } });
      expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_OPTION_OUT_OF_RANGE' });
      for (const part of ['limits.memoryBytes', '5999999', `limits.${larger}`, '3000000']) {
        expect(error.message).toContain(part);
      }
    }
    const limits = { memoryBytes: 1_048_576, maxPayload: 524_288, outboxBytes: 524_288 };
    await new WebSocketManager(server, { auth: 'anonymous', limits }).close();
  });

  test('whose getters throw, throw that', () => {
    const thrown = new Error('mine');
    const options = {
      auth: 'anonymous',
      get path() {
        throw thrown;
      },
    };
    expect(thrownBy(options)).toBe(thrown);
  });

  test('leave nothing behind when they are wrong', async () => {
    expect(thrownBy({ auth: 'anonymous', threads: 0 }).code).toBe('ERR_OPTION_OUT_OF_RANGE');
    expect(server.listenerCount('upgrade')).toBe(0);
    const manager = new WebSocketManager(server, { auth: 'anonymous' });
    expect([manager.name, manager.path]).toEqual(['default', '/api/websocket']);
    await manager.close();
  });
});

describe('the memory of outboxes', () => {
  // A manager asks how much memory the process may use when it is made.
  const limitWith = (total, allowed) => {
    jest.spyOn(require('node:os'), 'totalmem').mockReturnValue(total);
    jest.spyOn(process, 'constrainedMemory').mockReturnValue(allowed);
    let availableMemory;
    jest.isolateModules(() => {
      ({ availableMemory } = require('../lib/memory'));
    });
    return availableMemory();
  };

  afterEach(() => jest.restoreAllMocks());

  test.each([
    ['the machine has', 8e9, 0],
    ['the machine has, for its cgroup has no limit', 8e9, 18_446_744_073_709_552_000],
    ['its cgroup allows', 64e9, 8e9],
  ])('is a part of what %s', (_what, total, allowed) => {
    expect(limitWith(total, allowed)).toBe(8e9);
  });
});

describe('the server', () => {
  const express = Object.assign(() => {}, http.createServer().constructor.prototype);
  test.each([[undefined], [3000], ['server'], [{}], [express], [new (require('node:net').Server)()]])(
    'can not be %p',
    (value) => {
      expect(() => new WebSocketManager(value, { auth: 'anonymous' })).toThrow(
        expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_SERVER' }),
      );
    },
  );
});

describe('a path', () => {
  const inUse = { name: 'RangeError', code: 'ERR_OPTION_OUT_OF_RANGE' };

  test('has one manager of a server, until that is closed', async () => {
    const server = http.createServer();
    const first = new WebSocketManager(server, { auth: 'anonymous', path: '/a' });
    for (const path of ['/a', '/a/']) {
      const second = () => new WebSocketManager(server, { auth: 'anonymous', name: 'b', path });
      expect(second).toThrow(expect.objectContaining(inUse));
      expect(second).toThrow(/"path".*"default"/);
    }
    expect(server.listenerCount('upgrade')).toBe(1);
    const elsewhere = new WebSocketManager(http.createServer(), { auth: 'anonymous', name: 'b', path: '/a' });
    await Promise.all([first.close(), elsewhere.close()]);
    await new WebSocketManager(server, { auth: 'anonymous', name: 'b', path: '/a' }).close();
  });

  test.each(['prependListener', 'on'])('and a name are free after %s of the server threw', async (method) => {
    const server = http.createServer();
    server[method] = () => {
      throw new Error('broken');
    };
    expect(() => new WebSocketManager(server, { auth: 'anonymous' })).toThrow('broken');
    delete server[method];
    expect(server.listenerCount('upgrade')).toBe(0);
    await new WebSocketManager(server, { auth: 'anonymous' }).close();
  });
});
