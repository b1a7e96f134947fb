// The connection of the client: how it begins, how it ends, and how it comes back.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { closeAdvice, WebSocketClient } from '../../client/index.mjs';
import { client, keep, pair, peer } from './support/lab.mjs';
import { Peer } from './support/peer.mjs';

const addon = createRequire(import.meta.url)('../..');
const TIMEOUT = { timeout: 20_000 };

describe('connecting', TIMEOUT, () => {
  test('it offers the protocol first, then the token', async () => {
    const server = await peer();
    client(server.url, { token: 'abc' });
    assert.deepEqual((await server.next()).offered, ['actory.v1', 'bearer', 'abc']);
    client(server.url);
    assert.deepEqual((await server.next()).offered, ['actory.v1']);
  });

  test('it is open once the server has greeted, and knows its user, its rooms and the clocks', async () => {
    const server = await peer();
    const { client: made, next, status } = client(server.url.replace('ws:', 'http:'));
    assert.equal(made.status, 'connecting');
    const connection = await server.next();
    const now = Date.now() + 3_600_000;
    const topics = [
      { topic: 'user', position: null },
      { topic: 'room:tea', position: 'e.t.1' },
    ];
    connection.send({ type: 'hello', userId: '42', connectionId: 'c', now, heartbeatMs: 0, topics });
    assert.deepEqual(await next('joined'), { room: 'tea' });
    await status('open');
    assert.deepEqual([made.status, made.userId, made.rooms], ['open', '42', ['tea']]);
    assert.ok(Math.abs(made.clockOffset - 3_600_000) < 60_000);
  });

  test('a server that picks another protocol is left, for good', async () => {
    const server = await peer({ choose: () => 'bearer' });
    const { client: made, next } = client(server.url, { token: 'abc' });
    assert.equal((await next('error')).code, 'ERR_PROTOCOL_UNSUPPORTED');
    assert.equal(made.status, 'closed');
    await (await server.next()).closed;
  });

  test('it tries on while a proxy answers 502', async () => {
    const server = await peer({ refuse: [502, 502, 502] });
    const { status } = client(server.url);
    for (let i = 0; i < 3; i += 1) await status('waiting');
    (await server.next()).hello();
    await status('open');
  });

  test('it tries on while nobody listens', async () => {
    const server = await new Peer().listen();
    await server.close();
    const { status } = client(server.url);
    await status('waiting');
    await status('connecting');
    await status('waiting');
  });

  test('a server that takes the connection and does not greet is left for another attempt', async () => {
    const server = await peer();
    client(server.url, { silenceMs: 50 });
    await (await server.next()).closed;
    await server.next();
  });

  test('bad arguments are named', () => {
    const code = (run) => {
      try {
        keep(run());
      } catch (error) {
        return error.code;
      }
    };
    const make = (options) => code(() => new WebSocketClient('ws://127.0.0.1', { WebSocket, ...options }));
    assert.equal(
      code(() => new WebSocketClient('nowhere', { WebSocket })),
      'ERR_INVALID_ARG',
    );
    assert.equal(
      code(() => new WebSocketClient('ftp://a', { WebSocket })),
      'ERR_INVALID_ARG',
    );
    assert.equal(make({ silence: 1 }), 'ERR_UNKNOWN_OPTION');
    assert.equal(make({ reconnect: { min: 1 } }), 'ERR_UNKNOWN_OPTION');
    for (const options of [
      { silenceMs: 0 },
      { queueBytes: '1' },
      { reconnect: 1 },
      { reconnect: { minMs: Number.NaN } },
      { token: 1 },
      { WebSocket: {} },
    ]) {
      assert.equal(make(options), 'ERR_INVALID_OPTION', JSON.stringify(options));
    }
  });
});

describe('close codes', TIMEOUT, () => {
  test('the advice is that of the package, for every code', () => {
    const codes = Array.from({ length: 5_000 }, (_, code) => code);
    assert.deepEqual(
      codes.map((code) => closeAdvice(code)),
      codes.map((code) => addon.closeAdvice(code)),
    );
  });

  const sendable = (code) => ![1005, 1006, 1014].includes(code);
  for (const code of [...Object.values(addon.CloseCode).filter(sendable), 3000, 4429, 4500]) {
    const advice = addon.closeAdvice(code);
    test(`after ${code}: ${advice}`, async () => {
      let tokens = 0;
      const server = await peer();
      const { client: made, next, status } = client(server.url, { token: async () => `t${++tokens}` });
      const connection = (await server.next()).hello();
      await status('open');
      connection.socket.close(code, 'because');
      if (advice === 'stop') {
        const error = await next('error');
        assert.deepEqual([error.code, error.closeCode, error.reason], ['ERR_CLOSED', code, 'because']);
        assert.equal(made.status, 'closed');
        return;
      }
      assert.deepEqual((await server.next()).offered, ['actory.v1', 'session.s-1', 'bearer', 't2']);
    });
  }

  test('who has no other token gives up when a fresh one is wanted', async () => {
    for (const token of ['abc', undefined]) {
      const { connection, client: made, next } = await pair({ token });
      connection.socket.close(4001);
      assert.equal((await next('error')).closeCode, 4001);
      assert.equal(made.status, 'closed');
    }
  });
});

describe('tokens', TIMEOUT, () => {
  test('one that fails is told, and asked for again', async () => {
    const server = await peer();
    const cause = new Error('away');
    const answers = [
      () => {
        throw cause;
      },
      () => Promise.reject(cause),
      () => 'abc',
    ];
    const { next } = client(server.url, { token: () => answers.shift()() });
    for (let i = 0; i < 2; i += 1) {
      const error = await next('error');
      assert.deepEqual([error.code, error.cause], ['ERR_TOKEN', cause]);
    }
    assert.deepEqual((await server.next()).offered, ['actory.v1', 'bearer', 'abc']);
  });

  test('one that WebSocket refuses ends it', async () => {
    const server = await peer();
    const { client: made, next } = client(server.url, { token: 'a b' });
    assert.equal((await next('error')).code, 'ERR_INVALID_ARG');
    assert.equal(made.status, 'closed');
  });

  test('one that comes after close() connects nobody', async () => {
    const server = await peer();
    let give;
    const { client: made } = client(server.url, {
      token: () =>
        new Promise((resolve) => {
          give = resolve;
        }),
    });
    await Promise.resolve();
    made.close();
    give('late');
    made.reconnect();
    await new Promise((resolve) => setImmediate(resolve));
    give('abc');
    assert.deepEqual((await server.next()).offered.at(-1), 'abc');
    assert.deepEqual(server.connections.drain(), []);
  });
});

describe('dead links', TIMEOUT, () => {
  test('a silent server is pinged, and left if it does not answer', async () => {
    const { server, connection, status } = await pair({ silenceMs: 40 });
    assert.deepEqual(await connection.next(), { type: 'ping' });
    connection.send({ type: 'pong', now: 0 });
    assert.deepEqual(await connection.next(), { type: 'ping' });
    await status('waiting');
    await server.next();
  });

  test('a peer that stopped reading and writing is left, and another connection made', async () => {
    const { server, connection, status } = await pair({ silenceMs: 40 });
    connection.socket._socket.pause();
    await status('waiting');
    (await server.next()).hello();
    await status('open');
  });
});

describe('ending and coming back', TIMEOUT, () => {
  test('close() ends it, twice is once, and nothing can be sent', async () => {
    const { server, connection, client: made, events } = await pair();
    made.close();
    made.close();
    const [code] = await connection.closed;
    assert.equal(code, 1000);
    assert.deepEqual(events.drain(), [['status', 'closed']]);
    await assert.rejects(made.send(1), { code: 'ERR_CLOSED' });
    assert.deepEqual(server.connections.drain(), []);
  });

  test('close() before it is open ends it', async () => {
    const server = await peer();
    const { client: made } = client(server.url);
    await new Promise((resolve) => setImmediate(resolve));
    made.close();
    assert.equal(made.status, 'closed');
  });

  test('reconnect() comes back from anywhere, also from closed', async () => {
    const { server, client: made, connection, status } = await pair();
    made.reconnect();
    await connection.closed;
    (await server.next()).hello();
    await status('open');
    made.close();
    await status('closed');
    made.reconnect();
    (await server.next()).hello();
    await status('open');
  });

  test('a listener that closes the client gets nothing more', async () => {
    const { connection, client: made, events } = await pair({}, { topic: 'user', position: null });
    made.on('message', () => made.close());
    for (const offset of [1, 2, 3]) {
      connection.send({ type: 'message', topic: 'user', position: `e.t.${offset}`, data: offset });
    }
    await connection.closed;
    assert.deepEqual(
      events.drain().map(([name, event]) => event.data ?? name),
      [1, 'status'],
    );
  });

  test('a listener that throws keeps nobody from the message', async () => {
    const reported = [];
    // Of node:test's own, which would fail the test.
    const others = process.rawListeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => reported.push(error.message));
    try {
      const { connection, client: made, next } = await pair();
      const off = made.on('message', () => {
        throw new Error('mine');
      });
      const last = [];
      made.on('message', ({ data }) => last.push(data));
      connection.send({ type: 'message', data: 1 });
      assert.equal((await next('message')).data, 1);
      assert.deepEqual([reported, last], [['mine'], [1]]);
      off();
      connection.send({ type: 'message', data: 2 });
      await next('message');
      assert.deepEqual([reported, last], [['mine'], [1, 2]]);
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const other of others) process.on('uncaughtException', other);
    }
  });
});
