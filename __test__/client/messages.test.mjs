// Messages of the client, both ways, over real sockets.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { decode, encode } from '../../client/frame.mjs';
import { root } from '../../scripts/run.mjs';
import { client, keep, pair, peer } from './support/lab.mjs';
import { Tunnel } from './support/tunnel.mjs';

const TIMEOUT = { timeout: 20_000 };
const tea = (offset, more) => ({
  type: 'message',
  topic: 'room:tea',
  position: `e.t.${offset}`,
  data: offset,
  ...more,
});

/** The bytes that docs/protocol.md shows. */
function documented() {
  const [, hex] = /```text\n([0-9a-f ]+)\n```/.exec(readFileSync(join(root, 'docs/protocol.md'), 'utf8'));
  return Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16));
}

describe('frames', TIMEOUT, () => {
  test('the bytes of the document mean what it says', () => {
    const bytes = documented();
    assert.deepEqual(decode(bytes.buffer), { type: 'message', data: Uint8Array.of(1, 2) });
    assert.deepEqual(encode({ type: 'message', data: Uint8Array.of(1, 2) }), bytes);
  });

  test('what is no message is none, whatever it is', () => {
    const bytes = (...values) => Uint8Array.from(values).buffer;
    for (const frame of [
      '',
      'x',
      'null',
      '[]',
      '1',
      '{}',
      '{"type":1}',
      bytes(),
      bytes(0),
      bytes(0, 9, 123),
    ]) {
      assert.equal(decode(frame), undefined);
    }
    assert.equal(decode(bytes(0, 2, 255, 255)), undefined);
    assert.equal(decode(bytes(0, 2, 123, 125)), undefined);
  });

  test('bytes go both ways, in a frame of their own', async () => {
    const { connection, client: made, next } = await pair();
    connection.send(documented());
    assert.deepEqual((await next('message')).data, Uint8Array.of(1, 2));
    const buffer = Uint8Array.of(7, 8, 9).buffer;
    for (const data of [new Uint8Array(buffer, 1), buffer, new DataView(buffer, 2), new Uint8Array(0)]) {
      made.send(data);
    }
    const got = [];
    for (let i = 0; i < 4; i += 1) {
      const frame = await connection.next();
      const { type, data } = decode(Uint8Array.from(frame).buffer);
      got.push([type, ...data]);
    }
    assert.deepEqual(got, [['send', 8, 9], ['send', 7, 8, 9], ['send', 9], ['send']]);
  });
});

describe('what comes', TIMEOUT, () => {
  test('JSON, texts that are none, and what they belong to', async () => {
    const { connection, next } = await pair({}, { topic: 'room:tea', position: null });
    connection.send(tea(1, { data: { a: [1] } })).send({ type: 'message', text: '{' });
    const message = { data: { a: [1] }, topic: 'room:tea', room: 'tea', position: 'e.t.1', replayed: false };
    assert.deepEqual(await next('message'), message);
    const bare = { topic: undefined, room: undefined, position: undefined, replayed: false };
    assert.deepEqual(await next('message'), { data: '{', text: '{', ...bare });
    connection.send({ type: 'message', data: null });
    assert.deepEqual(await next('message'), { data: null, ...bare });
  });

  test('unknown types and members are ignored, errors told, and frames that are no message too', async () => {
    const { connection, next, events } = await pair();
    connection.send({ type: 'party', data: 1 }).send('nonsense').send(Uint8Array.of(9));
    connection.send({ type: 'error', code: 'ERR_INVALID_MESSAGE', message: 'no', id: 'x', more: 1 });
    connection.send({ type: 'message', data: 1, colour: 'red' });
    assert.equal((await next('message')).data, 1);
    assert.deepEqual(events.drain(), []);
    connection.send('nonsense').send({ type: 'error', code: 'ERR_BAD', message: 'no' });
    assert.equal((await next('error')).code, 'ERR_INVALID_MESSAGE');
    const { code, message } = await next('error');
    assert.deepEqual([code, message], ['ERR_BAD', 'no']);
  });

  test('a server that talks nonsense is told of, and does no harm', async () => {
    const { connection, client: made, next, events } = await pair();
    const nonsense = [
      { type: 'joined', topic: 5 },
      { type: 'joined', topic: { a: 1 }, position: 7 },
      { type: 'message', topic: 'user', position: 8, data: 1 },
      { type: 'resumed', topic: null },
      { type: 'ack', id: {} },
      { type: 'hello', topics: 3 },
      { type: 'left', topic: 9 },
    ];
    for (const message of nonsense) connection.send(message);
    connection.send({ type: 'message', data: 'good' });
    while ((await next('message')).data !== 'good');
    assert.deepEqual([made.rooms, made.status], [[], 'open']);
    const others = events.drain().filter(([name]) => name !== 'error' && name !== 'message');
    assert.deepEqual(others, []);
    const server = await peer();
    const { next: nextOf } = client(server.url);
    (await server.next()).send({ type: 'hello', userId: 'u' });
    assert.equal((await nextOf('error')).code, 'ERR_INVALID_MESSAGE');
  });

  test('joining and leaving is told, and kept in `rooms`', async () => {
    const { connection, client: made, next } = await pair();
    connection.send({ type: 'joined', topic: 'room:tea', position: null });
    assert.deepEqual(await next('joined'), { room: 'tea' });
    assert.deepEqual(made.rooms, ['tea']);
    connection.send({ type: 'left', topic: 'room:tea' });
    assert.deepEqual(await next('left'), { room: 'tea' });
    assert.deepEqual(made.rooms, []);
  });

  test('what the server missed is told; without a topic, for those without a history', async () => {
    const topics = [{ topic: 'user', position: 'e.t.1' }, { topic: 'room:bare' }];
    const { connection, next } = await pair({}, ...topics);
    connection.send({ type: 'missed', topic: 'user', reason: 'failover', position: 'e.u.1' });
    assert.deepEqual(await next('missed'), { topic: 'user', room: undefined, reason: 'failover' });
    connection.send({ type: 'missed', reason: 'gap' });
    assert.deepEqual(await next('missed'), { topic: 'room:bare', room: 'bare', reason: 'gap' });
  });
});

describe('resuming', TIMEOUT, () => {
  /** A client that was in rooms, came back, and has asked; and what it asked. */
  async function away(rooms, before = []) {
    const { server, connection, status, ...rest } = await pair({}, ...rooms);
    for (const message of before) connection.send(message);
    for (let i = 0; i < before.length; i += 1) await rest.next('message');
    connection.socket.terminate();
    const again = (await server.next()).hello();
    const asked = await again.next();
    await status('open');
    return { server, again, asked, ...rest };
  }

  test('it asks for all that it knew from its last positions on, and merges what comes', async () => {
    const rooms = [
      { topic: 'user', position: null },
      { topic: 'room:tea', position: 'e.t.1' },
    ];
    const { again, asked, next, events } = await away(rooms, [tea(2)]);
    const topics = [
      { topic: 'user', position: null },
      { topic: 'room:tea', position: 'e.t.2' },
    ];
    assert.deepEqual(asked, { type: 'resume', topics });
    again
      .send(tea(4))
      .send(tea(3, { replayed: true }))
      .send(tea(5))
      .send(tea(4, { replayed: true }));
    again.send({ type: 'resumed', topic: 'room:tea', position: 'e.t.4', recovered: true }).send(tea(6));
    const got = [];
    for (let i = 0; i < 4; i += 1) got.push(await next('message'));
    assert.deepEqual(
      got.map(({ data, replayed }) => [data, replayed]),
      [
        [3, true],
        [4, true],
        [5, false],
        [6, false],
      ],
    );
    assert.deepEqual(events.drain(), []);
  });

  test('without a history it says so, at each return; what was not recovered it says before the messages', async () => {
    const rooms = [{ topic: 'room:bare' }, { topic: 'room:tea', position: 'e.t.1' }];
    const { again, events, next } = await away(rooms);
    again.send({ type: 'resumed', topic: 'room:bare', recovered: false, reason: 'no-history' });
    again.send(tea(9, { replayed: true }));
    const resumed = {
      type: 'resumed',
      topic: 'room:tea',
      position: 'e.t.9',
      recovered: false,
      reason: 'trimmed',
    };
    again.send(resumed).send({ type: 'message', data: 'end' });
    assert.deepEqual(await next('missed'), { topic: 'room:bare', room: 'bare', reason: 'no-history' });
    const got = [await events.next(), await events.next()];
    assert.deepEqual(
      got.map(([name, { reason, data }]) => [name, reason ?? data]),
      [
        ['missed', 'trimmed'],
        ['message', 9],
      ],
    );
  });

  test('it is told that it is no member any more', async () => {
    const { again, next, client: made } = await away([{ topic: 'room:tea', position: null }]);
    again.send({ type: 'resumed', topic: 'room:tea', recovered: false, reason: 'not-member' });
    assert.deepEqual(await next('left'), { room: 'tea' });
    assert.deepEqual(made.rooms, []);
  });

  test('it asks again while history is unavailable, from the same position', async () => {
    const { again, asked } = await away([{ topic: 'room:tea', position: 'e.t.1' }]);
    for (let i = 0; i < 3; i += 1) {
      again.send({ type: 'resumed', topic: 'room:tea', recovered: false, reason: 'unavailable' });
      assert.deepEqual(await again.next(), asked);
    }
  });

  test('it asks for 1,000 topics at a time', async () => {
    const rooms = Array.from({ length: 2_001 }, (_, i) => ({ topic: `room:${i}`, position: null }));
    const { again, asked } = await away(rooms);
    const sizes = [asked, await again.next(), await again.next()].map(({ topics }) => topics.length);
    assert.deepEqual(sizes, [1_000, 1_000, 1]);
  });

  test('it asks for the position of a topic that came without one', async () => {
    const { connection } = await pair({}, { topic: 'user' }, { topic: 'room:tea', position: null });
    assert.deepEqual(await connection.next(), { type: 'resume', topics: [{ topic: 'user' }] });
  });

  test('of another user it forgets the topics of the first', async () => {
    const {
      server,
      connection,
      next,
      client: made,
    } = await pair({}, { topic: 'room:tea', position: 'e.t.1' });
    connection.socket.terminate();
    const again = await server.next();
    again.send({ type: 'hello', userId: '43', connectionId: 'd', now: 0, heartbeatMs: 0, topics: [] });
    assert.deepEqual(await next('left'), { room: 'tea' });
    made.send('first');
    assert.deepEqual(await again.next(), { type: 'send', id: '1', data: 'first' });
  });

  test('cut at random bytes, it hands on every message once and in order', async () => {
    const MOST = 150;
    let seed = 7;
    const random = (below) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
      return seed % below;
    };
    const server = await peer();
    const tunnel = keep(
      await new Tunnel(
        () => server.port,
        () => 200 + random(2_500),
      ).listen(),
    );
    const { next } = client(tunnel.url);
    let count = 0;
    const serve = (connection) => {
      connection.hello({ topic: 'room:tea', position: count === 0 ? null : `e.t.${count}` });
      const publish = () => {
        if (count === MOST || connection.socket.readyState !== 1) return;
        count += 1;
        connection.send(tea(count));
        setImmediate(publish);
      };
      publish();
      connection.received.find(({ type, topics }) => {
        for (const { topic, position } of type === 'resume' ? topics : []) {
          const from = Number(position?.split('.')[2] ?? 0);
          const to = Math.min(count, from + 20);
          for (let offset = from + 1; offset <= to; offset += 1)
            connection.send(tea(offset, { replayed: true }));
          const more = to < count ? { more: true } : {};
          const at = to === 0 ? null : `e.t.${to}`;
          connection.send({ type: 'resumed', topic, position: at, recovered: true, ...more });
        }
        return false;
      });
    };
    const accept = async () => {
      for (;;) serve(await server.next());
    };
    accept();
    for (let offset = 1; offset <= MOST; offset += 1) {
      const { data, position } = await next('message');
      assert.deepEqual([data, position], [offset, `e.t.${offset}`]);
    }
    assert.ok(tunnel.cuts >= 5, `${tunnel.cuts} cuts`);
  });
});

describe('sending', TIMEOUT, () => {
  test('what is sent before it is open goes afterwards, in order', async () => {
    const server = await peer();
    const { client: made } = client(server.url);
    made.send({ a: 1 });
    made.send('two');
    const connection = (await server.next()).hello();
    assert.deepEqual(await connection.next(), { type: 'send', id: '1', data: { a: 1 } });
    made.send(null);
    assert.deepEqual(await connection.next(), { type: 'send', id: '2', data: 'two' });
    assert.deepEqual(await connection.next(), { type: 'send', id: '3', data: null });
  });

  test('it resolves once the server has taken it, and rejects if that refuses', async () => {
    const { connection, client: made } = await pair();
    const sent = [made.send(1), made.send(2), made.send(Uint8Array.of(3))];
    assert.equal((await connection.next()).id, '1');
    assert.equal((await connection.next()).id, '2');
    assert.deepEqual(await connection.next(), Buffer.from('\0\x18{"type":"send","id":"3"}\x03', 'latin1'));
    connection.send({ type: 'ack', id: '2' });
    assert.equal(await sent[1], undefined);
    connection.send({ type: 'error', id: '1', code: 'ERR_NO', message: 'no' });
    await assert.rejects(sent[0], { code: 'ERR_NO', message: 'no' });
    connection.send({ type: 'ack', id: '3' });
    await sent[2];
  });

  test('what has no answer when the connection breaks is sent again in the same session, in order', async () => {
    const { server, connection, client: made } = await pair();
    const sent = [1, 2, 3].map((number) => made.send(number));
    for (let i = 0; i < 3; i += 1) await connection.next();
    connection.send({ type: 'ack', id: '2' });
    await sent[1];
    connection.socket.terminate();
    const again = await server.next();
    assert.deepEqual(again.offered, ['actory.v1', 'session.s-1']);
    again.hello();
    assert.deepEqual(await again.next(), { type: 'send', id: '1', data: 1 });
    assert.deepEqual(await again.next(), { type: 'send', id: '3', data: 3 });
    again.send({ type: 'ack', id: '1' }).send({ type: 'ack', id: '3' });
    await Promise.all(sent);
  });

  test('no more than 256 are on their way without an answer', async () => {
    const { connection, client: made } = await pair();
    const sent = Array.from({ length: 300 }, (_, number) => made.send(number));
    for (let i = 0; i < 256; i += 1) assert.equal((await connection.next()).data, i);
    connection.send({ type: 'ack', id: '7' });
    assert.equal((await connection.next()).data, 256);
    for (let id = 1; id <= 300; id += 1) connection.send({ type: 'ack', id: String(id) });
    for (let i = 257; i < 300; i += 1) {
      assert.equal((await connection.next()).data, i);
      connection.send({ type: 'ack', id: String(i + 1) });
    }
    await Promise.all(sent);
  });

  test('what was meant to be said by another user is not sent', async () => {
    const { server, connection, client: made, status } = await pair();
    connection.socket.terminate();
    await status('waiting');
    const sent = made.send('secret');
    const other = { type: 'hello', userId: '43', connectionId: 'd', now: 0, heartbeatMs: 0, topics: [] };
    const again = await server.next();
    again.send(other);
    await assert.rejects(sent, { code: 'ERR_USER_CHANGED' });
    again.socket.terminate();
    await status('waiting');
    made.send('of nobody');
    const third = await server.next();
    third.send({ ...other, userId: '44', anonymous: true });
    assert.equal((await third.next()).data, 'of nobody');
  });

  test('what does not fit into the queue is rejected, and what waits stays', async () => {
    const server = await peer();
    const { client: made } = client(server.url, { queueBytes: 80 });
    made.send('first');
    made.send('é');
    await assert.rejects(made.send('third'), { code: 'ERR_QUEUE_FULL' });
    const connection = (await server.next()).hello();
    assert.deepEqual((await connection.next()).data, 'first');
    assert.deepEqual((await connection.next()).data, 'é');
    connection.send({ type: 'ack', id: '1' }).send({ type: 'ack', id: '2' });
    connection.send({ type: 'message', data: 'done' });
    await made.send('fourth').then(assert.fail, ({ code }) => assert.equal(code, 'ERR_QUEUE_FULL'));
  });

  test('one message of any size goes while the connection is open and nothing else waits', async () => {
    const { connection, client: made } = await pair({ queueBytes: 80 });
    const sent = made.send('x'.repeat(1_000));
    await assert.rejects(made.send(1), { code: 'ERR_QUEUE_FULL' });
    assert.equal((await connection.next()).id, '1');
    connection.send({ type: 'ack', id: '1' });
    await sent;
    made.send(2);
    assert.equal((await connection.next()).data, 2);
  });

  test('a peer that does not read fills the queue as well', async () => {
    const { connection, client: made } = await pair();
    connection.socket._socket.pause();
    const much = 'x'.repeat(200_000);
    const sent = Array.from({ length: 7 }, () => made.send(much));
    await assert.rejects(sent[6], { code: 'ERR_QUEUE_FULL' });
  });

  test('what JSON has no text for is rejected', async () => {
    const { client: made } = await pair();
    const circle = {};
    circle.circle = circle;
    for (const data of [undefined, () => {}, 1n, circle]) {
      await assert.rejects(made.send(data), { code: 'ERR_NOT_SERIALIZABLE' });
    }
  });

  test('a rejection that nobody waits for harms nothing', async () => {
    const { client: made } = await pair();
    made.send(1);
    made.close();
    made.send(2);
    await new Promise((resolve) => setImmediate(resolve));
  });
});

describe('requests', TIMEOUT, () => {
  test('each gets its own reply, in whatever order those come', async () => {
    const { connection, client: made } = await pair();
    const asked = [made.request({ a: 1 }), made.request(2), made.request(3)];
    assert.deepEqual(await connection.next(), { type: 'request', id: '1', data: { a: 1 } });
    await connection.next();
    await connection.next();
    connection.send({ type: 'reply', id: '2', data: null }).send({ type: 'reply', id: '1', data: [1] });
    connection.send(Buffer.from('\0\x19{"type":"reply","id":"3"}\x07', 'latin1'));
    assert.deepEqual(await Promise.all(asked), [[1], null, Uint8Array.of(7)]);
  });

  test('one that is refused rejects with the code', async () => {
    const { connection, client: made } = await pair();
    const asked = made.request(1);
    await connection.next();
    connection.send({ type: 'error', id: '1', code: 'SOLD_OUT', message: 'no more' });
    await assert.rejects(asked, { code: 'SOLD_OUT', message: 'no more' });
  });

  test('one that was written is not made again, and one that was not is made by the next connection', async () => {
    const { server, connection, client: made, status } = await pair();
    const written = made.request(1);
    await connection.next();
    connection.socket.terminate();
    await status('waiting');
    await assert.rejects(written, { code: 'ERR_UNCERTAIN' });
    const waiting = made.request(2);
    const again = (await server.next()).hello();
    assert.equal((await again.next()).data, 2);
    again.send({ type: 'reply', id: '2', data: 'yes' });
    assert.equal(await waiting, 'yes');
  });

  test('one without an answer in time, or that is given up, rejects, and a late reply is nothing', async () => {
    const { connection, client: made, events } = await pair();
    await assert.rejects(made.request(1, { timeoutMs: 1 }), { code: 'ERR_TIMEOUT' });
    const giveUp = new AbortController();
    const asked = made.request(2, { signal: giveUp.signal });
    giveUp.abort(new Error('unmounted'));
    await assert.rejects(asked, { message: 'unmounted' });
    await assert.rejects(made.request(3, { signal: giveUp.signal }), { message: 'unmounted' });
    connection.send({ type: 'reply', id: '1', data: 1 }).send({ type: 'reply', id: '2', data: 1 });
    const last = made.request(4);
    await connection.received.find(({ data }) => data === 4);
    connection.send({ type: 'reply', id: '3', data: 'last' });
    assert.equal(await last, 'last');
    assert.deepEqual(events.drain(), []);
  });

  test('close() ends the wait for all, also for what may have been taken', async () => {
    const { client: made } = await pair();
    const written = [made.request(1), made.send(1)];
    made.close();
    for (const each of written) await assert.rejects(each, { code: 'ERR_UNCERTAIN' });
    made.reconnect();
    const waiting = made.send(1);
    made.close();
    await assert.rejects(waiting, { code: 'ERR_CLOSED' });
    await assert.rejects(made.request(1), { code: 'ERR_CLOSED' });
  });
});
