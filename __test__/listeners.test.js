'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { EventEmitter, once } = require('node:events');
const http = require('node:http');
const { host, manage, listening } = require('./support/host');
const { connect } = require('./support/client');
const { nextWarning, warnings } = require('./support/warnings');

const EVENTS = ['connection', 'message', 'disconnect'];
const thrown = new Error('thrown by a listener');

afterEach(() => jest.restoreAllMocks());

/** The arguments of the next event. Unlike `once` of node:events, it doesn't mind an 'error' event meanwhile. */
const nextEvent = (manager, event) =>
  new Promise((resolve) => manager.once(event, (...args) => resolve(args)));

/** A promise of another kind. */
const thenable = (then) => Object.defineProperty({}, 'then', { value: then });

/** Makes each of the three events happen once. */
async function visit(url) {
  const client = await connect(url);
  client.send('"x"');
  await client.ping();
  return client.close();
}

describe('a listener that', () => {
  const ways = {
    throws() {
      throw thrown;
    },
    async rejects() {
      throw thrown;
    },
    async 'rejects later'() {
      await new Promise(setImmediate);
      throw thrown;
    },
    'answers with a thenable that rejects'() {
      return thenable((_resolve, reject) => reject(thrown));
    },
    'answers with a thenable that throws'() {
      return thenable(() => {
        throw thrown;
      });
    },
  };
  const cases = Object.entries(ways).flatMap(([way, listener]) =>
    EVENTS.map((event) => [way, event, listener]),
  );

  test.each(cases)(
    "%s on '%s' becomes an 'error' event, and the next one is called",
    async (_way, event, listener) => {
      const { manager, url } = await host();
      const errors = [];
      manager.on('error', (error) => errors.push(error));
      manager.on(event, listener);
      const next = nextEvent(manager, event);
      const gone = nextEvent(manager, 'disconnect');
      await visit(url);
      await next;
      await gone;
      await new Promise(setImmediate);
      expect(errors).toEqual([expect.objectContaining({ code: 'ERR_LISTENER', cause: thrown })]);
      expect(errors[0].message).toContain(event);
      const goneAgain = nextEvent(manager, 'disconnect');
      await visit(url);
      await goneAgain;
    },
  );

  test.each([
    ['an object without prototype', Object.create(null)],
    ['undefined', undefined],
    ['a symbol', Symbol('odd')],
    [
      'a proxy that is revoked',
      (() => {
        const { proxy, revoke } = Proxy.revocable({}, {});
        revoke();
        return proxy;
      })(),
    ],
    [
      'an error whose message throws',
      {
        get message() {
          throw new Error('no');
        },
        get code() {
          throw new Error('no');
        },
      },
    ],
  ])('throws %s harms nobody', async (_what, odd) => {
    const { manager, url } = await host();
    manager.on('connection', () => {
      throw odd;
    });
    const warning = nextWarning();
    await visit(url);
    const { message, code } = await warning;
    expect(message).toContain("listener of 'connection'");
    expect(code).toBe('ERR_LISTENER');
  });

  test("throws with nobody listening to 'error' becomes a process warning", async () => {
    const { manager, url } = await host();
    manager.on('connection', () => {
      throw thrown;
    });
    const warning = nextWarning();
    await visit(url);
    const { message, type, code, detail } = await warning;
    expect(message).toContain(thrown.message);
    expect([type, code]).toEqual(['ActoryWebSocketWarning', 'ERR_LISTENER']);
    expect(detail).toContain(__filename);
  });

  test('throws for each message of a flood becomes one process warning a second, which tells how many', async () => {
    const { manager, connect: open } = await host({ relay: false });
    let calls = 0;
    manager.on('message', (connection, data) => {
      calls += 1;
      connection.send('called');
      JSON.parse(data);
    });
    const client = await open();
    const flood = async (count) => {
      for (let i = 0; i < count; i += 1) client.send('no JSON');
      for (let i = 0; i < count; i += 1) await client.next();
      // The last listener has returned, too.
      await client.ping();
      await new Promise(setImmediate);
    };
    const first = warnings();
    await flood(100);
    expect(calls).toBe(100);
    expect(first).toEqual([expect.objectContaining({ code: 'ERR_LISTENER' })]);
    // Of another code, it is told.
    manager.broadcast(undefined);
    await new Promise(setImmediate);
    expect(first).toMatchObject([{ code: 'ERR_LISTENER' }, { code: 'ERR_NOT_SERIALIZABLE' }]);
    // A second later.
    const second = warnings();
    await flood(10);
    expect(second).toHaveLength(1);
    expect(second[0].message).toMatch(
      /^A listener of 'message' failed: .*\(99 more with ERR_LISTENER before it were left out\)$/,
    );
    // Listeners of 'error' get each.
    let errors = 0;
    manager.on('error', () => {
      errors += 1;
    });
    await flood(10);
    expect([errors, second.length]).toEqual([10, 1]);
  });

  test.each(['throws', 'rejects'])("%s on 'error' itself becomes a process warning", async (way) => {
    const { manager, url } = await host();
    manager.on('connection', ways.throws);
    const second = new Error('from the error listener');
    manager.on(
      'error',
      way === 'throws'
        ? () => {
            throw second;
          }
        : async () => {
            throw second;
          },
    );
    const seen = nextEvent(manager, 'connection');
    const warning = nextWarning();
    await visit(url);
    await seen;
    const { message, code, detail } = await warning;
    expect(message).toContain(`A listener of 'error' failed: ${second.message}`);
    expect(code).toBe('ERR_LISTENER');
    expect(detail).toContain(__filename);
  });
});

describe('interest', () => {
  /** Which messages came, by the listeners that were there. */
  test('follows listeners however they come and go', async () => {
    const { manager, connect: open } = await host({ relay: false });
    const client = await open();
    const seen = [];
    const listener = (_connection, data) => seen.push(data);
    /** Sends a message and waits until it has passed. */
    const pass = async (text) => {
      client.send(text);
      await client.ping();
      // Messages read before the pong are in the queue: a turn of the loop brings them.
      const other = await open();
      const gone = once(manager, 'disconnect');
      other.close();
      await gone;
    };
    const ways = [
      [() => manager.on('message', listener), () => manager.off('message', listener)],
      [() => manager.addListener('message', listener), () => manager.removeListener('message', listener)],
      [() => manager.prependListener('message', listener), () => manager.removeAllListeners('message')],
      [() => manager.once('message', listener), () => {}],
      [() => manager.prependOnceListener('message', listener), () => {}],
      [() => manager.on('message', listener), () => manager.removeAllListeners()],
    ];
    for (const [index, [add, remove]] of ways.entries()) {
      add();
      await pass(`heard ${index}`);
      remove();
      await pass(`unheard ${index}`);
    }
    expect(seen).toEqual(ways.map((_, index) => `heard ${index}`));
  });

  test('leaves the events of Node’s emitter alone', async () => {
    const { manager } = await host();
    const names = [];
    manager.on('newListener', (name) => names.push(name));
    manager.on('removeListener', (name) => names.push(`-${name}`));
    const listener = () => {};
    manager.once('message', listener).off('message', listener);
    expect(names).toEqual(['removeListener', 'message', '-message']);
    expect(manager.listenerCount('message')).toBe(0);
    expect(manager.eventNames()).toEqual(['newListener', 'removeListener']);
  });

  test('is there for the promises and iterators of node:events', async () => {
    const { manager, url } = await host({ relay: false });
    const messages = require('node:events').on(manager, 'message');
    const met = once(manager, 'connection');
    const client = await connect(url);
    client.send('a');
    client.send('b');
    const [connection, ...rest] = await met;
    expect(rest).toEqual([]);
    expect((await messages.next()).value).toEqual([connection, 'a', false]);
    expect((await messages.next()).value).toEqual([connection, 'b', false]);
    await messages.return();
    expect(manager.listenerCount('message')).toBe(0);
  });

  test('of someone who comes late has the connections that were there before', async () => {
    const { manager, connect: open } = await host({ relay: false });
    const client = await open();
    const message = once(manager, 'message');
    client.send('late');
    const [connection, data] = await message;
    expect([connection.isOpen, data]).toEqual([true, 'late']);
    const gone = once(manager, 'disconnect');
    client.close(4000, 'x');
    expect(await gone).toEqual([connection, 4000, 'x', 'peer']);
    expect(connection.isOpen).toBe(false);
  });

  test("in 'disconnect' alone, of someone who comes late, has connections never seen before", async () => {
    const { manager, connect: open } = await host({ auth: { authenticate: () => ({ userId: 'u' }) } });
    const client = await open();
    const gone = once(manager, 'disconnect');
    client.close(4000, 'x');
    const [connection, code, reason] = await gone;
    expect([connection.userId, connection.isOpen, code, reason]).toEqual(['u', false, 4000, 'x']);
  });
});

describe('events', () => {
  test('run in the asynchronous context of the construction where the upgrade has none', async () => {
    const storage = new AsyncLocalStorage();
    const server = http.createServer();
    const manager = storage.run('construction', () => manage(server, { relay: false }));
    await listening(server);
    const url = `ws://127.0.0.1:${server.address().port}/api/websocket`;
    const stores = [];
    const gone = new Promise((resolve) => {
      storage.run('listener', () => {
        for (const event of EVENTS) manager.on(event, () => stores.push(storage.getStore()));
        manager.on('disconnect', resolve);
      });
    });
    await storage.run('client', () => visit(url));
    await gone;
    // Jest gives each upgrade a context where those are frames (Node 24); the storage has no value in it.
    const own = process.versions.node.split('.')[0] < 24 ? 'construction' : undefined;
    expect(stores).toEqual([own, own, own]);
  });

  test("say in 'disconnect' who ended the connection", async () => {
    const { manager, pair } = await host();
    const end = async (how) => {
      const { client, connection } = await pair();
      const gone = once(manager, 'disconnect');
      how(client, connection);
      const [, code, reason, by] = await gone;
      return [code, reason, by];
    };
    expect(await end((client) => client.close(4002, 'mine'))).toEqual([4002, 'mine', 'peer']);
    expect(await end((_, connection) => connection.close(4002, 'ours'))).toEqual([4002, 'ours', 'server']);
    expect(await end((client) => client.socket.terminate())).toEqual([1006, '', 'network']);
    expect(await end((client) => client.close(3456))).toEqual([3456, '', 'peer']);
    const { closed, closedByPeer } = manager.stats();
    expect({ closed, closedByPeer }).toEqual({
      closed: { 4002: 1, 1006: 1 },
      closedByPeer: { 4002: 1, other: 1 },
    });
  });

  test('that the application emits by itself are plain events', async () => {
    const { manager } = await host();
    expect(manager).toBeInstanceOf(EventEmitter);
    expect(manager.emit('connection', 1)).toBe(false);
    manager.on('connection', (value) => expect(value).toBe(2));
    expect(manager.emit('connection', 2)).toBe(true);
    expect(() => manager.emit('error', thrown)).toThrow();
  });

  test("that the application emits by itself have rejections end up in 'error' under captureRejections", async () => {
    const server = http.createServer();
    EventEmitter.captureRejections = true;
    const manager = manage(server);
    EventEmitter.captureRejections = false;
    const failed = nextEvent(manager, 'error');
    manager.on('slow', async () => {
      throw thrown;
    });
    manager.emit('slow');
    expect(await failed).toEqual([expect.objectContaining({ code: 'ERR_LISTENER', cause: thrown })]);
  });

  test('come also when their listener takes itself off, or adds another, meanwhile', async () => {
    const { manager, url } = await host();
    const calls = [];
    const first = () => {
      calls.push('first');
      manager.off('connection', first);
      manager.on('connection', () => calls.push('added'));
    };
    manager.on('connection', first);
    manager.on('connection', () => calls.push('second'));
    await visit(url);
    expect(calls).toEqual(['first', 'second']);
    await visit(url);
    expect(calls).toEqual(['first', 'second', 'second', 'added']);
  });
});
