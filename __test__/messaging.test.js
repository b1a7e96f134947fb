'use strict';

const { RawClient, frame, upgradeRequest } = require('./support/client');
const { host } = require('./support/host');

/** Users by the query: `?alice`. */
const byQuery = { auth: { authenticate: ({ url }) => ({ userId: url.split('?')[1] }) } };

/** A host whose clients say who they are. */
async function users(options) {
  const context = await host({ ...byQuery, ...options });
  return { ...context, join: (name) => context.pair({}, `${context.url}?${name}`) };
}

const published = (local) => ({ status: 'published', nodes: local > 0 ? 1 : 0, local, position: null });

describe('data', () => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const shared = new SharedArrayBuffer(8);
  new Uint8Array(shared).set(bytes);
  test.each([
    ['a string', 'täxt', 'täxt'],
    ['an empty string', '', ''],
    ['a lone surrogate', 'a\ud800b', 'a\ufffdb'],
    ['a NUL', 'a\0b', 'a\0b'],
    ['an object', { a: [1, null, 'x'] }, '{"a":[1,null,"x"]}'],
    ['an array', [1], '[1]'],
    ['null', null, 'null'],
    ['a number', 5, '5'],
    ['NaN', Number.NaN, 'null'],
    ['a boolean', false, 'false'],
    ['a Date', new Date(0), '"1970-01-01T00:00:00.000Z"'],
    ['what toJSON makes of it', { toJSON: () => 'made' }, '"made"'],
    ['a Buffer', Buffer.from(bytes), Buffer.from(bytes)],
    ['an empty Buffer', Buffer.alloc(0), Buffer.alloc(0)],
    ['a part of a Uint8Array', bytes.subarray(2, 4), Buffer.of(3, 4)],
    ['a Uint16Array', new Uint16Array(bytes.buffer, 2, 2), Buffer.of(3, 4, 5, 6)],
    ['a Float64Array', new Float64Array(bytes.buffer), Buffer.from(bytes)],
    ['a BigInt64Array', new BigInt64Array(bytes.buffer), Buffer.from(bytes)],
    ['a DataView', new DataView(bytes.buffer, 1, 3), Buffer.of(2, 3, 4)],
    ['an ArrayBuffer', bytes.buffer, Buffer.from(bytes)],
    ['a SharedArrayBuffer', shared, Buffer.from(bytes)],
    ['a view on shared memory', new Uint8Array(shared, 6), Buffer.of(7, 8)],
    ['a Uint16Array on shared memory', new Uint16Array(shared, 6), Buffer.of(7, 8)],
  ])('%s goes as what it is', async (_what, data, expected) => {
    const { client, connection } = await (await host()).pair();
    expect(connection.send(data)).toBe(true);
    expect(await client.next()).toEqual(expected);
  });

  test('is copied at once', async () => {
    const { client, connection } = await (await host()).pair();
    const buffer = Buffer.from('before');
    connection.send(buffer);
    buffer.write('after!');
    expect((await client.next()).toString()).toBe('before');
  });

  const circular = {};
  circular.self = circular;
  const detached = new Uint8Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const resizable = new ArrayBuffer(64, { maxByteLength: 128 });
  const shrunken = [
    new Uint8Array(resizable, 32, 32),
    new Int16Array(resizable, 32, 16),
    new DataView(resizable, 32, 32),
  ];
  resizable.resize(16);
  const unserializable = [
    ['a view on a detached buffer', detached],
    ['a detached buffer', detached.buffer],
    ...shrunken.map((view) => [`a ${view.constructor.name} on a buffer that has shrunk`, view]),
    ['undefined', undefined],
    ['a function', () => {}],
    ['a symbol', Symbol('x')],
    ['a bigint', 1n],
    ['a bigint inside', { a: 1n }],
    ['a circle', circular],
    [
      'a toJSON that throws',
      {
        toJSON() {
          throw new Error('no');
        },
      },
    ],
    ['a toJSON that makes nothing', { toJSON() {} }],
    [
      'a getter that throws',
      {
        get a() {
          throw new Error('no');
        },
      },
    ],
    [
      'a revoked proxy',
      (() => {
        const { proxy, revoke } = Proxy.revocable({}, {});
        revoke();
        return proxy;
      })(),
    ],
    [
      'a view whose getters throw',
      Object.defineProperty(new DataView(new ArrayBuffer(1)), 'byteOffset', {
        get() {
          throw new Error('no');
        },
      }),
    ],
    // Their JSON would be {}, or what happens to be set on them.
    ['a Map', new Map([['a', 1]])],
    ['a Set', new Set([1])],
    ['a Map with a property', Object.assign(new Map(), { a: 1 })],
    ['an Error', new TypeError('no')],
    ['an Error with a code', Object.assign(new Error('no'), { code: 'E' })],
    ['a DOMException', new DOMException('no')],
    ['a RegExp', /x/],
    ['a Blob', new Blob(['x'])],
    ['a File', new (require('node:buffer').File)(['x'], 'x.txt')],
    ['a WeakMap', new WeakMap()],
    ['a WeakRef', new WeakRef({})],
    ['an iterator', [1].values()],
    ['Headers', new Headers({ a: 'b' })],
    ['URLSearchParams', new URLSearchParams('a=b')],
    ['a boxed symbol', Object(Symbol('s'))],
  ];
  test('is called by its name where it can not be sent', async () => {
    const { manager } = await host();
    await expect(manager.broadcast(new URLSearchParams('a=b'))).rejects.toThrow(
      'what a URLSearchParams holds',
    );
    await expect(manager.broadcast(new Error('no'))).rejects.toThrow('what an Error holds');
  });

  test.each(unserializable)('can not be %s', async (_what, data) => {
    const { manager, pair } = await host();
    const { client, connection } = await pair();
    const error = expect.objectContaining({ name: 'TypeError', code: 'ERR_NOT_SERIALIZABLE' });
    expect(() => connection.send(data)).toThrow(error);
    expect(() => manager.connections.broadcast(data)).toThrow(error);
    expect(() => manager.connections.sendToUser('u', data)).toThrow(error);
    await expect(manager.broadcast(data)).rejects.toEqual(error);
    await expect(manager.sendToUser('u', data)).rejects.toEqual(error);
    await expect(manager.sendToRoom('r', data)).rejects.toEqual(error);
    connection.send('alive');
    expect(await client.next()).toBe('alive');
  });

  test.each([
    ['an empty object', {}, '{}'],
    ['an object without a prototype', Object.create(null), '{}'],
    ['an object of a class without fields', new (class A {})(), '{}'],
    ['a Date', new Date(0), '"1970-01-01T00:00:00.000Z"'],
    ['a URL', new URL('http://a/b'), '"http://a/b"'],
    ['a boxed number', Object(1), '1'],
    [
      'an Error that says what it is',
      Object.assign(new Error('no'), { toJSON: () => ({ error: 'no' }) }),
      '{"error":"no"}',
    ],
    ['a Map within an object', { map: new Map([[1, 2]]) }, '{"map":{}}'],
  ])('can be %s', async (_what, data, text) => {
    const { client, connection } = await (await host()).pair();
    connection.send(data);
    expect(await client.next()).toBe(text);
  });

  test('may not be larger than the outbox, and may be just as large', async () => {
    const { manager, pair } = await host({ limits: { outboxBytes: 1024 } });
    const { client, connection } = await pair();
    const error = expect.objectContaining({ name: 'RangeError', code: 'ERR_TOO_LARGE' });
    const large = 'x'.repeat(1025);
    expect(() => connection.send(large)).toThrow(error);
    expect(() => connection.send(Buffer.from(large))).toThrow(error);
    expect(() => manager.connections.broadcast(large)).toThrow(error);
    await expect(manager.broadcast(large)).rejects.toEqual(error);
    await expect(manager.sendToUser('nobody', large)).rejects.toEqual(error);
    expect(connection.send('x'.repeat(1024))).toBe(true);
    expect(await client.next()).toHaveLength(1024);
  });
});

describe('sendToUser', () => {
  test('reaches all connections of the user, and says how many', async () => {
    const { manager, join } = await users();
    const [a1, a2, b] = [await join('alice'), await join('alice'), await join('bob')];
    expect(await manager.sendToUser('alice', { n: 1 })).toEqual(published(2));
    expect(await manager.sendToUser('nobody', 'x')).toEqual(published(0));
    expect(await manager.sendToUser('bob', 'b', { require: 'cluster' })).toEqual(published(1));
    expect(await a1.client.nextJson()).toEqual({ n: 1 });
    expect(await a2.client.nextJson()).toEqual({ n: 1 });
    expect(await b.client.next()).toBe('b');
  });

  test('takes integers for ids', async () => {
    const { manager, join } = await users();
    await join('42');
    expect((await manager.sendToUser(42, 'x')).local).toBe(1);
    expect((await manager.sendToUser(-0, 'x')).local).toBe(0);
    expect(manager.connections.sendToUser(42, 'x')).toBe(1);
    expect(await manager.isOnline(42)).toBe(true);
  });

  test('keeps the order of calls', async () => {
    const { manager, join } = await users();
    const { client } = await join('alice');
    for (let i = 0; i < 500; i += 1) manager.sendToUser('alice', i);
    for (let i = 0; i < 500; i += 1) expect(await client.nextJson()).toBe(i);
  });
});

describe('broadcast', () => {
  test('reaches everyone', async () => {
    const { manager, join } = await users();
    const all = [await join('alice'), await join('bob'), await join('carol')];
    expect(await manager.broadcast('all')).toEqual(published(3));
    expect(manager.connections.broadcast('local')).toBe(3);
    for (const { client } of all)
      expect([await client.next(), await client.next()]).toEqual(['all', 'local']);
  });
});

describe('rooms', () => {
  test('are limited in number, per connection', async () => {
    const { manager, join } = await users({ limits: { roomsPerConnection: 3 } });
    const [{ connection }, other] = [await join('alice'), await join('bob')];
    for (const room of ['a', 'b', 'c', 'b']) connection.join(room);
    const tooMany = expect.objectContaining({ name: 'RangeError', code: 'ERR_TOO_MANY_ROOMS' });
    expect(() => connection.join('d')).toThrow(tooMany);
    expect(() => connection.join('d')).toThrow(/limits.roomsPerConnection \(3\)/);
    expect([...connection.rooms].sort()).toEqual(['a', 'b', 'c']);
    other.connection.join('d');
    connection.leave('a');
    connection.join('d');
    expect(manager.stats().rooms).toBe(3);
  });

  test('reach those who joined, until they leave', async () => {
    const { manager, join } = await users();
    const [a, b] = [await join('alice'), await join('bob')];
    a.connection.join('lobby');
    a.connection.join('lobby');
    a.connection.join(7);
    b.connection.join('lobby');
    expect(a.connection.rooms.sort()).toEqual(['7', 'lobby']);
    expect(manager.connections.inRoom('lobby')).toHaveLength(2);
    expect(await manager.sendToRoom('lobby', 'hi')).toEqual(published(2));
    expect(await manager.sendToRoom(7, 'seven')).toEqual(published(1));
    b.connection.leave('lobby');
    b.connection.leave('never joined');
    expect(b.connection.rooms).toEqual([]);
    expect(await manager.sendToRoom('lobby', 'again')).toEqual(published(1));
    expect([await a.client.next(), await a.client.next(), await a.client.next()]).toEqual([
      'hi',
      'seven',
      'again',
    ]);
    expect(await b.client.next()).toBe('hi');
    expect(manager.stats().rooms).toBe(2);
  });
});

describe('relay', () => {
  test("'user' passes JSON on to all connections of the sender's user", async () => {
    const { join } = await users();
    const [a1, a2, b] = [await join('alice'), await join('alice'), await join('bob')];
    a1.client.send('{ "spaces": "stay" }');
    expect([await a1.client.next(), await a2.client.next()]).toEqual(Array(2).fill('{ "spaces": "stay" }'));
    b.client.send('"b"');
    expect(await b.client.next()).toBe('"b"');
  });

  test("'rooms' passes JSON on to the rooms of the connection", async () => {
    const { join } = await users({ relay: 'rooms' });
    const [a, b] = [await join('alice'), await join('bob')];
    a.client.send('1');
    expect((await a.client.nextJson()).error.code).toBe('ERR_NOT_IN_ROOM');
    a.connection.join('r');
    b.connection.join('r');
    a.client.send('2');
    expect([await a.client.next(), await b.client.next()]).toEqual(['2', '2']);
  });

  test('tells the sender what was not relayed, and listeners get it all the same', async () => {
    const { manager, join } = await users();
    const seen = [];
    const all = new Promise((resolve) => {
      manager.on('message', (_connection, data) => {
        seen.push(data);
        if (seen.length === 3) resolve();
      });
    });
    const { client } = await join('alice');
    client.send('no JSON');
    client.send(Buffer.of(1));
    client.send('true');
    expect((await client.nextJson()).error).toEqual({
      code: 'ERR_INVALID_JSON',
      message: expect.any(String),
    });
    expect((await client.nextJson()).error.code).toBe('ERR_BINARY_NOT_RELAYED');
    expect(await client.next()).toBe('true');
    await all;
    expect(seen).toEqual(['no JSON', Buffer.of(1), 'true']);
    expect(manager.stats().messages).toMatchObject({ received: 3, relayed: 1, notRelayed: 2 });
  });
});

describe('disconnectUser', () => {
  test('closes all connections of the user, and says how many', async () => {
    const { manager, join } = await users();
    const [a1, a2] = [await join('alice'), await join('alice')];
    await join('bob');
    expect(await manager.disconnectUser('alice')).toEqual({
      status: 'published',
      nodes: 1,
      local: 2,
      position: null,
    });
    expect([await a1.client.closed, await a2.client.closed]).toEqual(
      Array(2).fill({ code: 4002, reason: '' }),
    );
    expect(await manager.disconnectUser('alice')).toMatchObject({ nodes: 0, local: 0 });
    expect(await manager.disconnectUser('bob', 4321, 'out')).toMatchObject({ nodes: 1, local: 1 });
    expect(await manager.isOnline('alice')).toBe(false);
  });
});

test('what a client said before it broke the protocol is answered before the close frame', async () => {
  const { manager, port } = await host({ relay: false });
  manager.on('message', (connection, text) => connection.send(`${text}!`));
  const client = new RawClient({ port, host: '127.0.0.1' });
  const reservedBit = Buffer.from(frame('oops'));
  reservedBit[0] |= 0x40;
  client.write(upgradeRequest(), frame('one'), frame('two'), reservedBit, frame('three'));
  const said = await client.ended;
  const frames = said.slice(said.indexOf('\r\n\r\n') + 4);
  expect(frames.startsWith('\x81\x04one!\x81\x04two!\x88')).toBe(true);
  expect(frames).toContain('\x03\xea');
  expect(frames).not.toContain('three');
});

test('a listener of one manager reaches the connections of another at once', async () => {
  const one = await host({ relay: false });
  const other = await host({ relay: false, name: 'other' });
  const { client: receiver, connection } = await other.pair();
  one.manager.on('message', (_connection, text) => connection.send(text));
  const { client: sender } = await one.pair();
  sender.send('over there');
  expect(await receiver.next()).toBe('over there');
});
