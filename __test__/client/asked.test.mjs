// The answers of this package's server to what the client sends and asks.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { keep } from './support/lab.mjs';
import { serve, visit } from './support/server.mjs';

const require = createRequire(import.meta.url);
const { RequestError } = require('../..');
const { RedisServer } = require('../support/redis-server');
const TIMEOUT = { timeout: 60_000 };

/** A promise, and what settles it. */
function gate() {
  let open;
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** A manager that relays nothing, and a client of it behind a network. */
async function meet(options) {
  const { manager, port } = await serve({ relay: false, ...options });
  const { client, ...rest } = await visit(() => port, 'user=ada');
  return { manager, port, made: client, ...rest };
}

describe('a message', TIMEOUT, () => {
  test('is taken once all listeners have dealt with it, and has a name of its own', async () => {
    const { manager, made } = await meet();
    const { open, opened } = gate();
    const heard = [];
    manager.on('message', async (connection, data, isBinary, { id }) => {
      heard.push([connection.userId, String(data), isBinary, id]);
      await opened;
    });
    manager.on('message', () => {});
    let taken = 0;
    const sent = [made.send({ n: 1 }), made.send(Uint8Array.of(65))].map((each) =>
      each.then(() => (taken += 1)),
    );
    while (heard.length < 2) await setImmediate();
    assert.equal(taken, 0);
    open();
    await Promise.all(sent);
    assert.deepEqual(
      heard.map((each) => each.slice(0, 3)),
      [
        ['ada', '{"n":1}', false],
        ['ada', 'A', true],
      ],
    );
    const [[, , , first], [, , , second]] = heard;
    assert.match(first, /^[A-Za-z0-9_-]{22}$/);
    assert.match(second, /^[A-Za-z0-9_-]{22}$/);
    assert.notEqual(second, first);
  });

  test('that a listener fails to take is refused, without a word of the reason', async () => {
    const { manager, made } = await meet();
    const errors = [];
    manager.on('error', ({ code, cause }) => errors.push([code, cause.message]));
    const listeners = [
      () => {
        throw new Error('secret');
      },
      async () => {
        throw new Error('secret');
      },
    ];
    for (const listener of listeners) {
      manager.on('message', listener);
      const refusal = { code: 'ERR_LISTENER', message: 'the application failed to take the message' };
      await assert.rejects(made.send(1), refusal);
      manager.off('message', listener);
    }
    assert.deepEqual(errors, [
      ['ERR_LISTENER', 'secret'],
      ['ERR_LISTENER', 'secret'],
    ]);
    await assert.rejects(made.send(1), { code: 'ERR_NO_LISTENER' });
  });

  test('has a lazy thenable do its work once', async () => {
    const { manager, made } = await meet();
    let runs = 0;
    const query = {
      // biome-ignore lint/suspicious/noThenProperty: as a query builder has it
      then(resolve) {
        runs += 1;
        resolve();
      },
    };
    manager.on('message', () => query);
    await made.send(1);
    assert.equal(runs, 1);
  });

  test('that was taken when the connection broke is not taken again', async () => {
    const { manager, made, tunnel } = await meet();
    const heard = [];
    const { open, opened } = gate();
    const came = once(manager, 'message');
    manager.on('message', async (_connection, data, _isBinary, { id }) => {
      heard.push([data, id]);
      await opened;
    });
    const sent = [made.send(1), made.send(2)];
    await came;
    while (heard.length < 2) await setImmediate();
    // The answer to the first attempt gets lost: once while the listener is at it, and once when it was done.
    const back = once(manager, 'connection');
    tunnel.cut();
    await back;
    open();
    await Promise.all(sent);
    assert.deepEqual(
      heard.map(([data]) => data),
      ['1', '2'],
    );
    const third = made.send(3);
    manager.once('message', () => tunnel.cut());
    await third;
    assert.deepEqual(
      heard.map(([data]) => data),
      ['1', '2', '3'],
    );
    assert.equal(new Set(heard.map(([, id]) => id)).size, 3);
  });

  test('whose connection the application ends before it came to it is sent again', async () => {
    const { manager, made } = await meet();
    const heard = [];
    manager.on('message', (connection, data) => {
      heard.push(data);
      if (heard.length === 1) connection.terminate();
    });
    await Promise.all([made.send(1), made.send(2), made.send(3)]);
    assert.deepEqual(heard, ['1', '2', '3']);
  });

  for (const over of ['one server', 'Redis']) {
    test(`is relayed once over ${over}, however often it is sent`, async () => {
      const redis = over === 'Redis' ? { url: keep(await RedisServer.start()).url } : false;
      const { manager, made, tunnel, got, missed } = await meet({
        relay: 'user',
        redis,
        history: { size: 1000 },
      });
      await manager.ready();
      const sent = [];
      for (let number = 0; number < 200; number += 1) {
        sent.push(made.send(number));
        if (number % 20 === 0) {
          await setImmediate();
          tunnel.cut();
        }
      }
      await Promise.all(sent);
      const { messages } = await manager.history({ userId: 'ada' }, { limit: 1000 });
      const kept = messages.map(({ data }) => Number(data));
      assert.deepEqual(kept, [...kept.keys()], 'each once, in order');
      assert.equal(kept.length, 200);
      while (got.user.length < 200) await setImmediate();
      assert.deepEqual([got.user, missed], [kept, []]);
    });
  }

  test('that can not be relayed is refused', async () => {
    const { made } = await meet({ relay: 'rooms' });
    await assert.rejects(made.send(1), { code: 'ERR_NOT_IN_ROOM' });
    await assert.rejects(made.send(Uint8Array.of(1)), { code: 'ERR_BINARY_NOT_RELAYED' });
  });

  test('that nobody deals with keeps others from being taken only when there are too many', async () => {
    const { manager, port, made } = await meet();
    manager.on('message', (_connection, data) => (data === '"stuck"' ? new Promise(() => {}) : undefined));
    for (let i = 0; i < 255; i += 1) made.send('stuck');
    await made.send(1);
    made.send('stuck');
    let isTaken = false;
    made.send(2).then(
      () => (isTaken = true),
      () => {},
    );
    const other = await visit(() => port, 'user=bob');
    await other.client.send(3);
    assert.equal(isTaken, false);
  });
});

describe('a request', TIMEOUT, () => {
  test('is answered by the handler, with values and with bytes', async () => {
    const { manager, made } = await meet();
    manager.onRequest(async (connection, data, { id }) => {
      assert.match(id, /^[A-Za-z0-9_-]{22}$/);
      if (Buffer.isBuffer(data)) return data.map((byte) => byte + 1);
      if (data.op === 'nothing') return undefined;
      return data.op === 'text' ? '17' : { user: connection.userId, ...data };
    });
    assert.deepEqual(await made.request({ op: 1 }), { user: 'ada', op: 1 });
    assert.equal(await made.request({ op: 'text' }), '17');
    assert.equal(await made.request({ op: 'nothing' }), null);
    assert.deepEqual(await made.request(Uint8Array.of(1, 2)), Uint8Array.of(2, 3));
  });

  test('is refused in the words of the application, and in none of its secrets', async () => {
    const { manager, made } = await meet();
    const errors = [];
    manager.on('error', ({ code, cause }) => errors.push([code, cause?.message ?? cause.code]));
    const take = manager.onRequest((_connection, kind) => {
      if (kind === 'refuse') throw new RequestError('SOLD_OUT', 'no tickets left');
      if (kind === 'large') return 'x'.repeat(20 << 20);
      if (kind === 'odd') return 1n;
      throw new Error('secret');
    });
    await assert.rejects(made.request('refuse'), { code: 'SOLD_OUT', message: 'no tickets left' });
    assert.deepEqual(errors, []);
    await assert.rejects(made.request('fail'), { code: 'ERR_REQUEST_FAILED', message: 'the request failed' });
    await assert.rejects(made.request('odd'), { code: 'ERR_REQUEST_FAILED' });
    await assert.rejects(made.request('large'), { code: 'ERR_TOO_LARGE' });
    assert.deepEqual(
      errors.map(([code]) => code),
      ['ERR_LISTENER', 'ERR_LISTENER', 'ERR_LISTENER'],
    );
    take();
    take();
    await assert.rejects(made.request(1), { code: 'ERR_NO_LISTENER' });
  });

  test('has one handler', async () => {
    const { manager, made } = await meet();
    assert.throws(() => manager.onRequest(1), { code: 'ERR_INVALID_ARG' });
    const off = manager.onRequest(() => 1);
    assert.throws(() => manager.onRequest(() => 2), { code: 'ERR_HANDLER_TAKEN' });
    off();
    manager.onRequest(() => 2);
    off();
    assert.equal(await made.request(0), 2);
  });

  test('whose connection is gone is answered to nobody', async () => {
    const { manager, made, tunnel } = await meet();
    const { open, opened } = gate();
    manager.onRequest(async (_connection, data) => {
      if (data === 'slow') await opened;
      return data;
    });
    const slow = made.request('slow');
    await made.request('quick');
    tunnel.cut();
    await assert.rejects(slow, { code: 'ERR_UNCERTAIN' });
    open();
    assert.equal(await made.request('again'), 'again');
  });

  test('may fail by whatever is thrown', async () => {
    const { manager, made } = await meet();
    let thrown;
    manager.on('error', () => {});
    manager.onRequest(() => {
      throw thrown;
    });
    class Numbered extends RequestError {
      code = 404;
    }
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    for (thrown of [undefined, null, 0, Object.freeze({}), new Numbered('A'), proxy]) {
      await assert.rejects(made.request(1), { code: 'ERR_REQUEST_FAILED' });
    }
  });

  test('that hangs, or is given up, keeps no message from being taken, nor one of the next connection', async () => {
    const { manager, made, tunnel } = await meet();
    manager.on('message', () => {});
    manager.onRequest(() => new Promise(() => {}));
    const hang = () => Array.from({ length: 256 }, () => made.request(1, { timeoutMs: 50 }));
    for (const asked of hang()) await assert.rejects(asked, { code: 'ERR_TIMEOUT' });
    await made.send(1);
    await assert.rejects(made.request(1), { code: 'ERR_TOO_MANY_UNANSWERED' });
    tunnel.cut();
    await made.send(2);
    await assert.rejects(made.request(1, { timeoutMs: 20 }), { code: 'ERR_TIMEOUT' });
  });

  test('takes a RequestError only with a code', () => {
    assert.throws(() => new RequestError(1), { code: 'ERR_INVALID_ARG' });
    assert.throws(() => new RequestError(''), { code: 'ERR_ARG_OUT_OF_RANGE' });
    assert.throws(() => new RequestError('A', 1), { code: 'ERR_INVALID_ARG' });
    assert.throws(() => new RequestError('A', 'x'.repeat(2000)), { code: 'ERR_ARG_OUT_OF_RANGE' });
    assert.equal(String(new RequestError('A', 'b')), 'RequestError: b');
  });
});
