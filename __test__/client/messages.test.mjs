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
    assert.deepEqual(encode({ type: 'message' }, Uint8Array.of(1, 2)), bytes);
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
    connection.send('nonsense').send({ type: 'error', code: 'ERR_BAD', message: 'no', id: 'x' });
    assert.equal((await next('error')).code, 'ERR_INVALID_MESSAGE');
    const { code, message, id } = await next('error');
    assert.deepEqual([code, message, id], ['ERR_BAD', 'no', 'x']);
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
    assert.deepEqual(await again.next(), { type: 'send', data: 'first' });
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
    assert.deepEqual(await connection.next(), { type: 'send', data: { a: 1 } });
    made.send(null);
    assert.deepEqual(await connection.next(), { type: 'send', data: 'two' });
    assert.deepEqual(await connection.next(), { type: 'send', data: null });
  });

  test('what does not fit into the queue throws, and what waits stays', async () => {
    const server = await peer();
    const { client: made } = client(server.url, { queueBytes: 60 });
    made.send('first');
    made.send('é');
    assert.throws(() => made.send('third'), { code: 'ERR_QUEUE_FULL' });
    const connection = (await server.next()).hello();
    assert.deepEqual((await connection.next()).data, 'first');
    assert.deepEqual((await connection.next()).data, 'é');
    made.send('fourth');
    assert.deepEqual((await connection.next()).data, 'fourth');
  });

  test('a peer that does not read fills the queue as well', async () => {
    const { connection, client: made } = await pair();
    connection.socket._socket.pause();
    const much = 'x'.repeat(200_000);
    assert.throws(
      () => {
        for (let i = 0; i < 1_000; i += 1) made.send(much);
      },
      { code: 'ERR_QUEUE_FULL' },
    );
  });

  test('what JSON has no text for throws', async () => {
    const { client: made } = await pair();
    const circle = {};
    circle.circle = circle;
    for (const data of [undefined, () => {}, 1n, circle]) {
      assert.throws(() => made.send(data), { code: 'ERR_NOT_SERIALIZABLE' });
    }
  });
});
