'use strict';

const { AsyncLocalStorage, createHook } = require('node:async_hooks');
const { once } = require('node:events');
const { frame, RawClient, refused, upgradeRequest } = require('./support/client');
const { host } = require('./support/host');

/** Sends until so many bytes wait for a client that doesn't read. */
async function fill(connection, bytes) {
  const piece = Buffer.alloc(50_000);
  while (connection.bufferedAmount < bytes) {
    expect(connection.send(piece)).toBe(true);
    await new Promise(setImmediate);
  }
}

/** True if the connection is among the open ones, whoever is asked. */
function isListed(manager, connection) {
  const { connections } = manager;
  const answers = [
    connections.get(connection.id) === connection,
    [...connections].includes(connection),
    connections.ofUser(connection.userId).includes(connection),
    connections.size === 1,
  ];
  expect(new Set(answers).size).toBe(1);
  return answers[0];
}

describe('close() without a code', () => {
  test('sends an empty close frame, and is told as 1005', async () => {
    const { manager, pair } = await host();
    const { client, connection } = await pair();
    const gone = once(manager, 'disconnect');
    connection.close();
    expect(await client.closed).toEqual({ code: 1005, reason: '' });
    expect((await gone).slice(1)).toEqual([1005, '', 'server']);
  });

  test('says 1000 with a reason, which needs a code', async () => {
    const { pair } = await host();
    const { client, connection } = await pair();
    connection.close(undefined, 'bye');
    expect(await client.closed).toEqual({ code: 1000, reason: 'bye' });
  });
});

describe('terminate()', () => {
  test('drops a connection without a close frame', async () => {
    const { manager, pair } = await host();
    const { client, connection } = await pair();
    const gone = once(manager, 'disconnect');
    connection.terminate();
    expect(connection.isOpen).toBe(false);
    expect(isListed(manager, connection)).toBe(false);
    expect(connection.send('x')).toBe(false);
    expect((await gone).slice(1)).toEqual([1006, '', 'server']);
    expect((await client.closed).code).toBe(1006);
    connection.terminate();
  });

  test('ends one whose client does not answer the close frame', async () => {
    const { manager, pair } = await host({ limits: { closeTimeoutMs: 600_000 } });
    const { client, connection } = await pair();
    client.socket.pause();
    const gone = once(manager, 'disconnect');
    connection.close(4000, 'bye');
    while (manager.stats().connections > 0) await new Promise(setImmediate);
    connection.terminate();
    expect((await gone).slice(1)).toEqual([4000, 'bye', 'server']);
    client.socket.terminate();
  });

  test('drops what waits', async () => {
    const { manager, pair } = await host();
    const { client, connection } = await pair();
    client.socket.pause();
    await fill(connection, 100_000);
    const gone = once(manager, 'disconnect');
    connection.terminate();
    expect((await gone)[1]).toBe(1006);
    client.socket.terminate();
  });
});

describe('What came before the end', () => {
  /** A client that sends 600 messages with its request; the first of them has `act` called. */
  async function flooded(act) {
    const { manager, port } = await host({ relay: false });
    const gone = once(manager, 'disconnect');
    const seen = [];
    manager.on('message', (connection, data) => {
      if (seen.length === 0) act(connection);
      seen.push(data);
    });
    const client = new RawClient(port);
    const messages = Array.from({ length: 600 }, (_, index) => frame(String(index)));
    client.write(upgradeRequest(), ...messages);
    await client.said('101');
    client.socket.end(frame('', { opcode: 8 }));
    await gone;
    return seen.length;
  }

  test('is not told after terminate()', async () => {
    expect(await flooded((connection) => connection.terminate())).toBe(1);
  });

  test('is told after close()', async () => {
    expect(await flooded((connection) => connection.close())).toBeGreaterThan(1);
  });
});

describe('ping()', () => {
  test('is answered by a pong event with its data', async () => {
    const { manager, pair } = await host();
    const { client, connection } = await pair();
    for (const data of ['hey', Buffer.from([0, 255]), new Uint16Array([1]), '', undefined, 'x'.repeat(125)]) {
      const pinged = once(client.socket, 'ping');
      const pong = once(manager, 'pong');
      expect(connection.ping(data)).toBe(true);
      const expected =
        typeof data === 'string'
          ? Buffer.from(data)
          : Buffer.from(data?.buffer ?? '', data?.byteOffset, data?.byteLength);
      expect(Buffer.compare((await pinged)[0], expected)).toBe(0);
      const [of, got] = await pong;
      expect(of).toBe(connection);
      expect(Buffer.compare(got, expected)).toBe(0);
    }
  });

  test.each([
    ['RangeError', 'ERR_ARG_OUT_OF_RANGE', 'x'.repeat(126)],
    ['RangeError', 'ERR_ARG_OUT_OF_RANGE', 'ä'.repeat(63)],
    ['RangeError', 'ERR_ARG_OUT_OF_RANGE', Buffer.alloc(126)],
    ['TypeError', 'ERR_INVALID_ARG', null],
    ['TypeError', 'ERR_INVALID_ARG', 5],
    ['TypeError', 'ERR_INVALID_ARG', { a: 1 }],
  ])('throws %s %s', async (name, code, data) => {
    const { pair } = await host();
    const { connection } = await pair();
    expect(() => connection.ping(data)).toThrow(expect.objectContaining({ name, code }));
  });

  test('is not taken for one of the heartbeat, nor the other way round', async () => {
    const { manager, pair } = await host({ heartbeat: { intervalMs: 1000, timeoutMs: 1000 } });
    const { client, connection } = await pair();
    const pongs = [];
    manager.on('pong', (_connection, data) => pongs.push(String(data)));
    await once(client.socket, 'ping');
    await client.ping();
    connection.ping();
    connection.ping('last');
    while (!pongs.includes('last')) await once(manager, 'pong');
    expect(pongs).toEqual(['', 'last']);
  });

  test('answers false once the connection is closing', async () => {
    const { pair } = await host();
    const { client, connection } = await pair();
    connection.close();
    expect(connection.ping()).toBe(false);
    await client.closed;
    expect(connection.ping()).toBe(false);
  });
});

describe('pause()', () => {
  test('stops reading until resume(), and disturbs nobody else', async () => {
    const { manager, pair } = await host({ relay: false, threads: 1 });
    const { client, connection } = await pair();
    const other = await pair();
    const got = [];
    manager.on('message', (from, data) => got.push(from === connection ? data : 'other'));
    connection.pause();
    expect(connection.isPaused).toBe(true);
    client.send('a');
    client.send('b');
    other.client.send('x');
    // Its messages are read after those of the paused one would be, on the same thread.
    while (got.length === 0) await once(manager, 'message');
    expect(got).toEqual(['other']);
    connection.resume();
    expect(connection.isPaused).toBe(false);
    while (got.length < 3) await once(manager, 'message');
    expect(got).toEqual(['other', 'a', 'b']);
  });

  test('is no reason for the heartbeat to close a connection', async () => {
    const { pair } = await host({ relay: false, heartbeat: { intervalMs: 1000, timeoutMs: 100 } });
    const { client, connection } = await pair();
    connection.pause();
    // Each is answered, and no answer is read.
    for (let i = 0; i < 3; i += 1) await once(client.socket, 'ping');
    expect(connection.isOpen).toBe(true);
    connection.resume();
    await client.ping();
    expect(connection.isOpen).toBe(true);
  });

  test('does not keep a connection from being closed', async () => {
    const { manager, pair } = await host();
    const { client, connection } = await pair();
    connection.pause();
    client.send('unread');
    const gone = once(manager, 'disconnect');
    connection.close(4000, 'bye');
    expect(await client.closed).toEqual({ code: 4000, reason: 'bye' });
    expect((await gone)[1]).toBe(4000);
  });
});

test('isPaused does not change after the end', async () => {
  const { manager, pair } = await host();
  const { connection } = await pair();
  const gone = once(manager, 'disconnect');
  connection.terminate();
  await gone;
  connection.pause();
  expect(connection.isPaused).toBe(false);
});

describe('drain', () => {
  test('comes once what bufferedAmount has shown is written', async () => {
    const { manager, pair } = await host();
    const { client, connection } = await pair();
    client.socket.pause();
    await fill(connection, 300_000);
    const drained = once(manager, 'drain');
    client.socket.resume();
    expect((await drained)[0]).toBe(connection);
    expect(connection.bufferedAmount).toBe(0);
    // Also if the kernel takes all at once, so that nobody waits for ever who waits for it.
    for (let i = 0; i < 100; i += 1) {
      connection.send('x');
      if (connection.bufferedAmount > 0) await once(manager, 'drain');
    }
  });

  test('comes where nobody has asked for bufferedAmount, if the client was behind', async () => {
    const { manager, pair } = await host({ limits: { outboxBytes: 16 * 1024 * 1024 } });
    const { client, connection } = await pair();
    client.socket.pause();
    const drained = once(manager, 'drain');
    for (let i = 0; i < 10; i += 1) connection.send(Buffer.alloc(1_000_000));
    client.socket.resume();
    expect((await drained)[0]).toBe(connection);
  });
});

describe('isOpen', () => {
  test('agrees with manager.connections, whoever closes', async () => {
    const { manager, pair } = await host();
    for (const end of [
      ({ connection }) => connection.close(),
      ({ connection }) => connection.terminate(),
      ({ connection }) => manager.disconnectUser(connection.userId),
      ({ client }) => client.socket.terminate(),
      ({ client }) => client.close(),
    ]) {
      const both = await pair();
      expect(both.connection.isOpen).toBe(true);
      expect(isListed(manager, both.connection)).toBe(true);
      const gone = once(manager, 'disconnect');
      end(both);
      while (both.connection.isOpen) await new Promise(setImmediate);
      expect(isListed(manager, both.connection)).toBe(false);
      await gone;
      expect(isListed(manager, both.connection)).toBe(false);
      both.client.socket.terminate();
    }
  });

  test('is false right after an overflow', async () => {
    const { manager, pair } = await host({ limits: { outboxBytes: 65_536 } });
    const { client, connection } = await pair();
    client.socket.pause();
    while (connection.send(Buffer.alloc(60_000)));
    expect(connection.isOpen).toBe(false);
    expect(isListed(manager, connection)).toBe(false);
    client.socket.terminate();
    await once(manager, 'disconnect');
  });
});

describe('Listeners of a connection', () => {
  test('run in the asynchronous context of its upgrade', async () => {
    const storage = new AsyncLocalStorage();
    const { server, manager, pair, url } = await host({ relay: false });
    const { emit } = server;
    // As tracing does it.
    server.emit = function emitIn(name, ...args) {
      if (name !== 'upgrade' || args[0].url.endsWith('none')) return emit.call(this, name, ...args);
      return storage.run(args[0].url.split('?')[1], () => emit.call(this, name, ...args));
    };
    const stores = { one: [], two: [], none: [] };
    const note = (connection) => {
      connection.data ??= storage.getStore() ?? 'none';
      stores[connection.data].push(storage.getStore());
    };
    for (const event of ['connection', 'message', 'pong', 'disconnect']) {
      manager.on(event, async (connection) => {
        await null;
        note(connection);
      });
    }
    const pairs = [];
    for (const name of ['one', 'two', 'none']) pairs.push(await pair({}, `${url}?${name}`));
    for (const { client, connection } of pairs) {
      const pong = once(manager, 'pong');
      connection.ping();
      await pong;
      client.send('x');
      await once(manager, 'message');
      const gone = once(manager, 'disconnect');
      client.close();
      await gone;
      await null;
    }
    await new Promise(setImmediate);
    expect(stores).toEqual({
      one: ['one', 'one', 'one', 'one'],
      two: ['two', 'two', 'two', 'two'],
      none: [undefined, undefined, undefined, undefined],
    });
  });

  test('leave no asynchronous resource behind, nor does a refusal, or an upgrade without a context', async () => {
    const alive = new Set();
    const hook = createHook({
      init: (id, type) => type === 'ActoryWebSocketConnection' && alive.add(id),
      destroy: (id) => alive.delete(id),
    }).enable();
    try {
      const storage = new AsyncLocalStorage();
      const { server, manager, pair, url } = await host({
        relay: false,
        auth: { authenticate: (req) => (req.url.endsWith('no') ? null : { userId: 'ada' }) },
      });
      const { emit } = server;
      server.emit = function emitIn(name, ...args) {
        if (name !== 'upgrade' || args[0].url.endsWith('none')) return emit.call(this, name, ...args);
        return storage.run('store', () => emit.call(this, name, ...args));
      };
      const { client } = await pair({}, `${url}?in`);
      await pair({}, `${url}?none`);
      while (alive.size > 1) await new Promise(setImmediate);
      expect(alive.size).toBe(1);
      const gone = once(manager, 'disconnect');
      client.close();
      await gone;
      await refused(`${url}?no`);
      while (alive.size > 0) await new Promise(setImmediate);
    } finally {
      hook.disable();
    }
  });

  test('run in that of a call of handleUpgrade', async () => {
    const storage = new AsyncLocalStorage();
    const { server, manager, port, connect: open } = await host({ relay: false });
    server.on('upgrade', (req, socket, head) => {
      if (req.url === '/mine') storage.run('mine', () => manager.handleUpgrade(req, socket, head));
    });
    const store = new Promise((resolve) => {
      manager.on('message', () => resolve(storage.getStore()));
    });
    const client = await open({}, `ws://127.0.0.1:${port}/mine`);
    client.send('x');
    expect(await store).toBe('mine');
  });
});
