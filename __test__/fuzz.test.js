'use strict';

const http = require('node:http');
const { Duplex } = require('node:stream');
const { RedisPubSub, WebSocketManager, getWebSocketManager } = require('..');
const { closeAfterwards } = require('./support/cleanup');
const { host } = require('./support/host');
const { startRedis } = require('./support/redis');

const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
const hostile = () => {
  const refuse = () => {
    throw new Error('hands off');
  };
  const traps = Object.getOwnPropertyNames(Reflect).map((name) => [name, refuse]);
  return new Proxy(() => {}, Object.fromEntries(traps));
};

/** Values that a program passes by mistake, or that someone passes on purpose. Made anew for each use. */
const VALUES = {
  nothing: () => undefined,
  null: () => null,
  true: () => true,
  zero: () => 0,
  'minus zero': () => -0,
  minus: () => -1,
  fraction: () => 0.1,
  NaN: () => Number.NaN,
  infinity: () => Number.NEGATIVE_INFINITY,
  'a huge number': () => Number.MAX_VALUE,
  'a close code': () => 4000,
  bigint: () => 2n ** 70n,
  symbol: () => Symbol('x'),
  'an empty string': () => '',
  text: () => 'text',
  'a long text': () => 'ä'.repeat(100_000),
  'half a character': () => '\udfff',
  NUL: () => '\0',
  __proto__: () => '__proto__',
  object: () => ({}),
  'no prototype': () => Object.create(null),
  array: () => [1, 'x'],
  'a sparse array': () => new Array(2 ** 31),
  function: () => () => {},
  class: () => class {},
  date: () => new Date(Number.NaN),
  regexp: () => /x/g,
  map: () => new Map([[1, 2]]),
  promise: () => Promise.resolve(1),
  circle: () => {
    const circle = {};
    circle.circle = circle;
    return circle;
  },
  'a String object': () => new String('text'),
  'a Number object': () => new Number(4000),
  'toString that throws': () => ({
    toString() {
      throw new Error('no');
    },
    valueOf() {
      throw new Error('no');
    },
  }),
  'toJSON that throws': () => ({
    toJSON() {
      throw new Error('no');
    },
  }),
  'a revoked proxy': revoked,
  'a hostile proxy': hostile,
  'global this': () => globalThis,
  'empty bytes': () => Buffer.alloc(0),
  bytes: () => new Uint8Array(100),
  'a view': () => new DataView(new ArrayBuffer(8), 3),
  'shared memory': () => new Uint8Array(new SharedArrayBuffer(8)),
  'a detached buffer': () => {
    const bytes = new Uint8Array(8);
    structuredClone(bytes, { transfer: [bytes.buffer] });
    return bytes;
  },
  'a shrunken buffer': () => {
    const buffer = new ArrayBuffer(64, { maxByteLength: 128 });
    const view = new Uint8Array(buffer, 32, 32);
    buffer.resize(16);
    return view;
  },
  'a shrunken view': () => {
    const buffer = new ArrayBuffer(64, { maxByteLength: 128 });
    const view = new DataView(buffer, 32, 32);
    buffer.resize(16);
    return view;
  },
  'a stream': () => new Duplex({ read() {}, write() {} }),
  'a request': () => new http.IncomingMessage(null),
};

/** Everything that may come of a call: an answer, or an error of this package, or what the value itself throws. */
function expectTame(error) {
  const own = typeof error?.code === 'string' && error.code.startsWith('ERR_');
  const theirs =
    ['hands off', 'no'].includes(error?.message) || /revoked|circular|BigInt/.test(error?.message);
  if (!own && !theirs) throw error;
}

/** Calls with every value at every place, the other places filled with what is right. */
async function fuzz(call, right) {
  for (let place = 0; place < right.length; place += 1) {
    for (const [name, make] of Object.entries(VALUES)) {
      const args = right.map((value) => (typeof value === 'function' ? value() : value));
      args[place] = make();
      let answer;
      try {
        answer = call(...args);
      } catch (error) {
        try {
          expectTame(error);
        } catch {
          throw new Error(`place ${place}, ${name}: ${error?.stack}`);
        }
      }
      await Promise.resolve(answer).catch(expectTame);
    }
  }
}

describe('no value harms', () => {
  test.each([
    ['alone', async () => false],
    ['with Redis', async () => ({ url: (await startRedis()).url })],
    ['with a shared channel', async () => ({ url: (await startRedis()).url, routing: 'shared' })],
  ])('the methods of a manager %s', async (_how, redis) => {
    const { manager, pair } = await host({ redis: await redis() });
    const { connection } = await pair();
    await manager.ready();
    const methods = {
      sendToUser: ['u', 'data', {}],
      sendToRoom: ['r', 'data', {}],
      broadcast: ['data', {}],
      publish: ['channel', 'message'],
      disconnectUser: ['u', 4000, 'reason'],
      isOnline: ['u'],
      countConnections: ['u'],
      ready: ['x'],
      stats: ['x'],
      handleUpgrade: [VALUES['a request'], VALUES['a stream'], VALUES.bytes, () => ({ userId: 'u' })],
    };
    for (const [name, right] of Object.entries(methods)) {
      await fuzz((...args) => {
        const answer = manager[name](...args);
        if (name !== 'stats') expect(typeof answer.then).toBe('function');
        return answer;
      }, right);
    }
    expect(connection.send('alive')).toBe(true);
  });

  test('the methods of a connection', async () => {
    const { pair } = await host({ limits: { outboxBytes: 1 << 24 } });
    const { client, connection } = await pair();
    client.socket.on('error', () => {});
    await fuzz((data) => connection.send(data), ['data']);
    await fuzz((data) => connection.ping(data), ['data']);
    await fuzz((room) => connection.join(room), ['r']);
    await fuzz((room) => connection.leave(room), ['r']);
    await fuzz(
      (value) => {
        connection.data = value;
        expect(connection.data).toBe(value);
      },
      ['data'],
    );
    connection.send('alive');
    while ((await client.next()) !== 'alive');
    const others = [await (await host({ name: 'b' })).pair(), await (await host({ name: 'c' })).pair()];
    await fuzz((code) => others[0].connection.close(code, 'reason'), [4000]);
    await fuzz((reason) => others[1].connection.close(4000, reason), ['reason']);
  });

  test('the methods of a connection that are called on something else', async () => {
    const { manager, pair } = await host();
    const { connection } = await pair();
    const methods = ['send', 'close', 'join', 'leave'].map((name) => connection[name]);
    const getter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(connection), 'rooms').get;
    for (const make of Object.values(VALUES)) {
      for (const method of [...methods, getter, manager.broadcast, manager.connections.get]) {
        try {
          await Reflect.apply(method, make(), ['text']);
        } catch (error) {
          expect(error.name).toBe('TypeError');
        }
      }
    }
  });

  test('the methods of manager.connections', async () => {
    const { manager, pair } = await host();
    const { connection } = await pair();
    const { connections } = manager;
    await fuzz((id) => connections.get(id), ['id']);
    await fuzz((id) => connections.ofUser(id), ['u']);
    await fuzz((room) => connections.inRoom(room), ['r']);
    await fuzz((id, data) => connections.sendToUser(id, data), ['u', 'data']);
    await fuzz((data) => connections.broadcast(data), ['data']);
    expect(connection.isOpen).toBe(true);
  });

  test('close()', async () => {
    for (const key of [undefined, 'drainMs', 'code', 'reason']) {
      for (const make of Object.values(VALUES)) {
        const value = make();
        // These are right, and would close it.
        const isRight =
          value === undefined ||
          (key !== undefined && (value === 4000 || (key !== 'code' && [0, ''].includes(value))));
        if (isRight || (key === undefined && typeof value === 'object' && value !== null)) continue;
        const { manager } = await host({ threads: 1 });
        await manager.close(key === undefined ? value : { [key]: value }).catch(expectTame);
        await manager.close();
      }
    }
  });

  test('the constructor and getWebSocketManager', async () => {
    const server = http.createServer();
    await fuzz((value) => new WebSocketManager(value, { auth: 'anonymous' }).close(), [server]);
    await fuzz((value) => new WebSocketManager(server, value).close(), [() => ({ auth: 'anonymous' })]);
    for (const key of [
      'name',
      'path',
      'protocols',
      'auth',
      'rejectWith',
      'allowedOrigins',
      'heartbeat',
      'limits',
      'relay',
      'threads',
    ]) {
      await fuzz((value) => new WebSocketManager(server, { auth: 'anonymous', [key]: value }).close(), ['x']);
    }
    for (const key of [
      'secret',
      'publicKey',
      'algorithms',
      'issuer',
      'audience',
      'userIdClaim',
      'allowShortSecret',
      'cookie',
      'query',
    ]) {
      const jwt = { secret: 'a secret of the tests, 32 bytes or more' };
      await fuzz(
        (value) => new WebSocketManager(server, { auth: { jwt: { ...jwt, [key]: value } } }).close(),
        ['x'],
      );
    }
    await fuzz((name) => getWebSocketManager(name), ['x']);
    expect(server.listenerCount('upgrade')).toBe(0);
  });

  test('the methods of a RedisPubSub', async () => {
    const { url } = await startRedis();
    const pubsub = new RedisPubSub(url);
    closeAfterwards(() => pubsub.close());
    await pubsub.initialize();
    pubsub.on('error', expectTame);
    await fuzz((...args) => pubsub.publish(...args), ['channel', 'message']);
    await fuzz((...args) => pubsub.subscribe(...args), ['channel', () => () => {}]);
    await fuzz((...args) => pubsub.publish(...args), ['channel', 'message']);
    await fuzz((...args) => pubsub.unsubscribe(...args), ['channel', () => () => {}]);
    await fuzz((value) => pubsub.initialize(value), ['x']);
    await fuzz((value) => pubsub.ref(value).unref(value), ['x']);
    const heard = new Promise((resolve) => pubsub.subscribe('last', resolve));
    await pubsub.publish('last', 'alive');
    expect(await heard).toBe('alive');
    await fuzz((value) => pubsub.close(value), ['x']);
  });

  test('the options of Redis', async () => {
    const server = http.createServer();
    const { url } = await startRedis();
    const right = { auth: 'anonymous', threads: 1 };
    const ignore = () => {};
    const make = (redis) => new WebSocketManager(server, { ...right, redis }).on('broker', ignore).close();
    await fuzz(make, [false]);
    for (const key of [
      'url',
      'username',
      'password',
      'masterName',
      'prefix',
      'routing',
      'connections',
      'connectTimeoutMs',
      'commandTimeoutMs',
      'probeIntervalMs',
      'graceMs',
      'pendingBytes',
      'tls',
    ]) {
      await fuzz((value) => make({ url, [key]: value }), ['x']);
      const open = (value) => new RedisPubSub(undefined, { url, [key]: value }).on('broker', ignore).close();
      await fuzz(open, ['x']);
    }
    for (const key of ['ca', 'cert', 'key', 'servername', 'rejectUnauthorized']) {
      await fuzz((value) => make({ url, tls: { [key]: value } }), ['x']);
    }
    await fuzz((...args) => new RedisPubSub(...args).on('broker', ignore).close(), [url, () => ({})]);
  });

  test('what authenticate answers', async () => {
    for (const key of [undefined, 'userId', 'rooms', 'data', 'expiresAt']) {
      for (const make of Object.values(VALUES)) {
        const authenticate = () => (key === undefined ? make() : { userId: 'u', [key]: make() });
        const { manager, url } = await host({ auth: { authenticate }, threads: 1 });
        const errors = [];
        manager.on('error', (error) => errors.push(error));
        const { Client } = require('./support/client');
        const { socket } = new Client(url);
        await new Promise((resolve) => {
          socket.on('open', resolve);
          socket.on('unexpected-response', resolve);
        });
        socket.terminate();
        errors.forEach(expectTame);
        await manager.close();
      }
    }
  });

  test('what listeners do to a connection while it is being told of', async () => {
    const { manager, connect: open } = await host();
    for (const event of ['connection', 'message', 'pong', 'drain', 'disconnect']) {
      manager.on(event, (connection) => {
        connection.pause();
        connection.ping();
        connection.close();
        connection.send('x');
        connection.join('r');
        manager.disconnectUser(connection.userId);
      });
    }
    const client = await open();
    expect((await client.closed).code).toBe(1005);
  });
});
