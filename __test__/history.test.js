'use strict';

// Histories without Redis: the positions of messages, what is kept of them, and how it is read.

const { EventEmitter, once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const { Listeners } = require('../lib/listeners');
const { MANAGER } = require('../lib/broker-status');
const { host, manage } = require('./support/host');
const { warnings } = require('./support/warnings');

afterEach(() => jest.restoreAllMocks());

const POSITION = /^[0-9a-z]{8}\.[0-9a-z]{8}\.\d+$/;
const offsetOf = (position) => Number(position.split('.')[2]);

/** A manager without a server. */
const withHistory = (history = true, options = {}) => manage(null, { history, ...options });

/** Sends so many texts to a room, '1' first. Answers their positions. */
async function fill(manager, room, count) {
  const sent = Array.from({ length: count }, (_, i) => manager.sendToRoom(room, String(i + 1)));
  return (await Promise.all(sent)).map(({ position }) => position);
}

const textsOf = ({ messages }) => messages.map(({ data }) => data);

describe('a position', () => {
  test('is given to each message of a user and of a room, and grows by one in each', async () => {
    const manager = withHistory();
    const users = [];
    const rooms = [];
    for (let i = 0; i < 3; i += 1) {
      users.push((await manager.sendToUser('ada', i)).position);
      rooms.push((await manager.sendToRoom('ada', i)).position);
    }
    for (const positions of [users, rooms]) {
      expect(positions).toEqual(Array(3).fill(expect.stringMatching(POSITION)));
      expect(positions.map(offsetOf)).toEqual([1, 2, 3]);
      expect(new Set(positions.map((position) => position.split('.')[0])).size).toBe(1);
    }
    expect(users[0]).not.toBe(rooms[0]);
  });

  test('is null where nothing is kept: without the option, for everyone, for a disconnection, and with history: false', async () => {
    const kept = withHistory();
    const plain = withHistory(false, { name: 'plain' });
    const rooms = withHistory({ users: false }, { name: 'rooms' });
    const deliveries = await Promise.all([
      plain.sendToUser('ada', 1),
      plain.sendToRoom('tea', 1, { history: true }),
      rooms.sendToUser('ada', 1),
      kept.broadcast(1),
      kept.disconnectUser('ada'),
      kept.sendToUser('ada', 1, { history: false }),
      kept.sendToRoom('tea', 1, { history: false }),
    ]);
    const none = { status: 'published', nodes: 0, local: 0, position: null };
    expect(deliveries).toEqual(deliveries.map(() => none));
    expect((await kept.history({ userId: 'ada' })).messages).toEqual([]);
    expect((await kept.history({ room: 'tea' })).position).toBeNull();
  });

  test('is skipped by none: what has no place takes none', async () => {
    const manager = withHistory();
    await manager.sendToUser('ada', 'first');
    await manager.sendToUser('ada', 'typing', { history: false });
    const { position } = await manager.sendToUser('ada', 'second', { history: true });
    expect(offsetOf(position)).toBe(2);
    expect(textsOf(await manager.history({ userId: 'ada' }))).toEqual(['first', 'second']);
  });

  test('is also given to what clients relay', async () => {
    const { manager, connect, url } = await host({
      auth: { authenticate: ({ url: from }) => ({ userId: from.split('?')[1] }) },
      history: true,
    });
    const client = await connect({}, `${url}?ada`);
    client.send('{"from":"ada"}');
    expect(await client.next()).toBe('{"from":"ada"}');
    expect(textsOf(await manager.history({ userId: 'ada' }))).toEqual(['{"from":"ada"}']);
  });

  test('does not keep a message from its recipients, nor from being counted', async () => {
    const { manager, pair } = await host({ history: true });
    const { client, connection } = await pair();
    const delivery = await manager.sendToUser(connection.userId, 'hello');
    expect(delivery).toMatchObject({ status: 'published', nodes: 1, local: 1 });
    expect(await client.next()).toBe('hello');
  });
});

describe('a page', () => {
  test('has text as strings, what went as JSON as its text, and bytes as Buffers', async () => {
    const manager = withHistory();
    const sent = ['täxt\0', { a: 1 }, Buffer.of(0, 255), ''];
    const positions = [];
    for (const data of sent) positions.push((await manager.sendToUser('ada', data)).position);
    const data = ['täxt\0', '{"a":1}', Buffer.of(0, 255), ''];
    expect(await manager.history({ userId: 'ada' })).toEqual({
      messages: data.map((each, i) => ({ data: each, position: positions[i] })),
      position: positions[3],
      recovered: true,
      hasMore: false,
    });
  });

  test('begins behind a position, has at most so many, and says whether there are more', async () => {
    const manager = withHistory();
    const positions = await fill(manager, 7, 5);
    const first = await manager.history({ room: 7 }, { limit: 2 });
    expect([textsOf(first), first.position, first.hasMore]).toEqual([['1', '2'], positions[1], true]);
    const second = await manager.history({ room: '7' }, { after: first.position, limit: 3 });
    expect([textsOf(second), second.position, second.hasMore]).toEqual([
      ['3', '4', '5'],
      positions[4],
      false,
    ]);
    const third = await manager.history({ room: 7 }, { after: second.position });
    expect(third).toEqual({ messages: [], position: positions[4], recovered: true, hasMore: false });
  });

  test('has 100 messages unless a limit says otherwise', async () => {
    const manager = withHistory({ size: 1500 });
    await fill(manager, 'tea', 1200);
    const lengths = await Promise.all(
      [undefined, 1, 1000].map(
        async (limit) => (await manager.history({ room: 'tea' }, { limit })).messages.length,
      ),
    );
    expect(lengths).toEqual([100, 1, 1000]);
  });

  test('of a topic without messages is empty, and has no position', async () => {
    expect(await withHistory().history({ userId: 'nobody' })).toEqual({
      messages: [],
      position: null,
      recovered: true,
      hasMore: false,
    });
  });

  test('says that messages were trimmed, where they would come behind the position that was asked for', async () => {
    const manager = withHistory({ rooms: { size: 3 } });
    const positions = await fill(manager, 'tea', 6);
    const told = async (after) => {
      const { recovered, reason, ...page } = await manager.history({ room: 'tea' }, { after });
      return [textsOf(page), recovered, reason];
    };
    expect(await told(positions[0])).toEqual([['4', '5', '6'], false, 'trimmed']);
    expect(await told(positions[2])).toEqual([['4', '5', '6'], true, undefined]);
    expect(await told(positions[4])).toEqual([['6'], true, undefined]);
    expect(await told(undefined)).toEqual([['4', '5', '6'], true, undefined]);
  });

  test("says that a history was emptied, of which it has none or another's messages", async () => {
    const [before, after] = [withHistory(), withHistory(true, { name: 'restarted' })];
    const { position } = await before.sendToUser('ada', 'before');
    const none = { messages: [], position: null, recovered: false, reason: 'emptied', hasMore: false };
    expect(await after.history({ userId: 'ada' }, { after: position })).toEqual(none);
    await after.sendToUser('ada', 'after');
    const page = await after.history({ userId: 'ada' }, { after: position });
    expect([textsOf(page), page.recovered, page.reason]).toEqual([['after'], false, 'emptied']);
  });

  test('is empty once ttlMs has passed since the last message, and the gap is told', async () => {
    const manager = withHistory({ ttlMs: 1000 });
    const [first] = await fill(manager, 'tea', 2);
    const patience = Date.now() + 15_000;
    let page = await manager.history({ room: 'tea' }, { after: first });
    expect(textsOf(page)).toEqual(['2']);
    while (page.messages.length > 0 && Date.now() < patience) {
      await sleep(50);
      page = await manager.history({ room: 'tea' }, { after: first });
    }
    expect(page).toMatchObject({ messages: [], recovered: false, reason: 'trimmed', hasMore: false });
    expect(offsetOf(page.position)).toBe(2);
    expect(offsetOf((await manager.sendToRoom('tea', '3')).position)).toBe(3);
  });
});

describe('an idempotency key', () => {
  test('has only the first of several messages published, and answers with its position', async () => {
    const { manager, pair } = await host({ history: true });
    const { client, connection } = await pair();
    const options = { idempotencyKey: 'order 7: paid' };
    const first = await manager.sendToUser(connection.userId, 'first', options);
    expect(first).toEqual({
      status: 'published',
      nodes: 1,
      local: 1,
      position: expect.stringMatching(POSITION),
    });
    const again = await manager.sendToUser(connection.userId, 'again', options);
    expect(again).toEqual({
      status: 'published',
      nodes: null,
      local: 0,
      position: first.position,
      repeated: true,
    });
    await manager.sendToUser(connection.userId, 'other', { idempotencyKey: 'order 8: paid' });
    expect([await client.next(), await client.next()]).toEqual(['first', 'other']);
    expect(textsOf(await manager.history({ userId: connection.userId }))).toEqual(['first', 'other']);
  });

  test('is one of its user or room', async () => {
    const manager = withHistory();
    const options = { idempotencyKey: 'ä'.repeat(128) };
    const deliveries = await Promise.all([
      manager.sendToUser('a', 1, options),
      manager.sendToUser('b', 1, options),
      manager.sendToRoom('a', 1, options),
      manager.sendToRoom('a', 1, options),
    ]);
    expect(deliveries.map(({ repeated }) => repeated)).toEqual([undefined, undefined, undefined, true]);
  });

  test('is known after its message is dropped', async () => {
    const manager = withHistory({ size: 1 });
    const options = { idempotencyKey: 'k' };
    const { position } = await manager.sendToRoom('tea', 'first', options);
    await fill(manager, 'tea', 3);
    expect(await manager.sendToRoom('tea', 'again', options)).toMatchObject({ position, repeated: true });
  });

  test('is refused where there is nothing to keep it in, and nobody gets the message', async () => {
    const { manager, pair } = await host({ history: { rooms: { 'chat:*': true, news: false } } });
    const { client, connection } = await pair();
    for (const room of ['news', 'chat:1', 'elsewhere']) connection.join(room);
    const options = { idempotencyKey: 'k' };
    const error = expect.objectContaining({ name: 'TypeError', code: 'ERR_NO_HISTORY' });
    await expect(manager.sendToRoom('news', 'x', options)).rejects.toEqual(error);
    await expect(manager.sendToRoom('elsewhere', 'x', options)).rejects.toEqual(error);
    await expect(manager.sendToRoom('chat:1', 'x', { ...options, history: false })).rejects.toEqual(error);
    await manager.sendToRoom('chat:1', 'the first', options);
    expect(await client.next()).toBe('the first');
  });
});

describe('rooms by pattern', () => {
  test('have the bounds of the first pattern that fits, in the order of the object', async () => {
    const manager = withHistory({
      size: 4,
      rooms: { 'chat:private:**': false, 'chat:*': { size: 2 }, size: { size: 1 }, '*:log': true },
    });
    const kept = async (room) => {
      await fill(manager, room, 5);
      return textsOf(await manager.history({ room })).length;
    };
    expect(await kept('chat:1')).toBe(2);
    expect(await kept('chat:log')).toBe(2);
    expect(await kept('a:log')).toBe(4);
    expect(await kept('size')).toBe(1);
    for (const room of ['chat:private:1', 'chat:private', 'chat:1:2', 'news']) {
      expect(await manager.sendToRoom(room, 1)).toMatchObject({ position: null });
      await expect(manager.history({ room })).rejects.toMatchObject({ code: 'ERR_NO_HISTORY' });
    }
  });

  test('are read once, by a getter too, and only those of the object itself', async () => {
    let reads = 0;
    const rooms = Object.create({ inherited: true });
    Object.defineProperty(rooms, 'tea', {
      enumerable: true,
      get() {
        reads += 1;
        return true;
      },
    });
    const manager = withHistory({ rooms });
    expect(reads).toBe(1);
    expect((await manager.sendToRoom('tea', 1)).position).toMatch(POSITION);
    expect((await manager.sendToRoom('inherited', 1)).position).toBeNull();
  });
});

describe('arguments', () => {
  const type = { name: 'TypeError', code: 'ERR_INVALID_ARG' };
  const range = { name: 'RangeError', code: 'ERR_ARG_OUT_OF_RANGE' };
  const unknown = { name: 'TypeError', code: 'ERR_UNKNOWN_OPTION' };

  test.each([
    [undefined, type],
    ['ada', type],
    [{}, type],
    [{ userId: undefined }, type],
    [{ userId: 'ada', room: 'tea' }, type],
    [{ user: 'ada' }, type],
    [{ room: null }, type],
    [['ada'], type],
    [new Map([['room', 'tea']]), type],
    [{ room: '' }, range],
    [{ userId: 'x'.repeat(257) }, range],
    [{ userId: 1.5 }, range],
  ])('can not have the topic %p', async (topic, error) => {
    await expect(withHistory().history(topic)).rejects.toMatchObject({
      ...error,
      message: expect.stringContaining('topic'),
    });
  });

  test.each([
    [{ after: 5 }, type, 'options.after'],
    [{ after: null }, type, 'options.after'],
    [{ after: '' }, type, 'options.after'],
    [{ after: 'k3f9x2ab.7c1d09aa' }, type, 'options.after'],
    [{ after: 'k3f9x2ab.7c1d09aa.01' }, type, 'options.after'],
    [{ after: `k3f9x2ab.7c1d09aa.1\0${'x'.repeat(10_000)}` }, type, 'options.after'],
    [{ limit: '5' }, type, 'options.limit'],
    [{ limit: null }, type, 'options.limit'],
    [{ limit: 0 }, range, 'options.limit'],
    [{ limit: 1001 }, range, 'options.limit'],
    [{ limit: 1.5 }, range, 'options.limit'],
    [{ limit: Number.NaN }, range, 'options.limit'],
    [{ before: 'x' }, unknown, 'before'],
    ['k3f9x2ab.7c1d09aa.1', type, 'options'],
  ])('can not have the options of a page %p', async (options, error, named) => {
    const rejected = await withHistory()
      .history({ room: 'tea' }, options)
      .catch((each) => each);
    expect(rejected).toMatchObject({ ...error, message: expect.stringContaining(named) });
    expect(rejected.message.length).toBeLessThan(200);
  });

  test.each([
    [{ idempotencyKey: 5 }, type, 'options.idempotencyKey'],
    [{ idempotencyKey: null }, type, 'options.idempotencyKey'],
    [{ idempotencyKey: '' }, range, 'options.idempotencyKey'],
    [{ idempotencyKey: 'x'.repeat(257) }, range, 'options.idempotencyKey'],
    [{ idempotencyKey: 'ä'.repeat(129) }, range, 'options.idempotencyKey'],
    [{ idempotencyKey: 'a\ud800' }, range, 'options.idempotencyKey'],
    [{ history: 'no' }, type, 'options.history'],
    [{ history: null }, type, 'options.history'],
    [{ require: 'all' }, type, 'options.require'],
    [{ key: 'x' }, unknown, 'key'],
  ])('can not have the options of a delivery %p', async (options, error, named) => {
    const manager = withHistory();
    const expected = { ...error, message: expect.stringContaining(named) };
    await expect(manager.sendToUser('ada', 'x', options)).rejects.toMatchObject(expected);
    await expect(manager.sendToRoom('tea', 'x', options)).rejects.toMatchObject(expected);
    expect((await manager.history({ room: 'tea' })).messages).toEqual([]);
  });

  test('of a broadcast and a disconnection have no history', async () => {
    const manager = withHistory();
    for (const options of [{ history: false }, { idempotencyKey: 'k' }]) {
      await expect(manager.broadcast('x', options)).rejects.toMatchObject(unknown);
      await expect(manager.disconnectUser('ada', 4002, '', options)).rejects.toMatchObject(unknown);
    }
  });
});

test('a history that is off is refused by name, and so is one of a closed manager', async () => {
  const manager = withHistory(false);
  await expect(manager.history({ userId: 'ada' })).rejects.toMatchObject({
    code: 'ERR_NO_HISTORY',
    message: expect.stringContaining("'ada'"),
  });
  const kept = withHistory(true, { name: 'kept' });
  await kept.close();
  await expect(kept.history({ userId: 'ada' })).rejects.toMatchObject({ code: 'ERR_CLOSED' });
});

test('a history does not go with the shared channel', () => {
  const redis = { url: 'redis://127.0.0.1:1', routing: 'shared' };
  expect(() => manage(null, { redis, history: true })).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_OPTION',
      message: expect.stringContaining('redis.routing'),
    }),
  );
});

describe("an event 'missed'", () => {
  const missed = { userId: 'ada', reason: 'failover', after: null, position: 'k3f9x2ab.7c1d09aa.7' };

  test('goes to its listeners, and is no warning then', async () => {
    const list = warnings();
    const manager = new EventEmitter();
    const listeners = new Listeners(manager, MANAGER, () => {});
    const heard = once(manager, 'missed');
    listeners.missed(missed);
    expect(await heard).toEqual([missed]);
    listeners.end();
    expect(list).toEqual([]);
  });

  test('becomes an error event where its listener fails', async () => {
    const manager = new EventEmitter();
    const listeners = new Listeners(manager, MANAGER, () => {});
    manager.on('missed', async () => {
      throw new Error('no');
    });
    const failed = once(manager, 'error');
    listeners.missed(missed);
    const [error] = await failed;
    expect(error).toMatchObject({ code: 'ERR_LISTENER', message: expect.stringContaining("'missed'") });
  });

  test('becomes one warning together with all others of a second, if nobody listens', async () => {
    const told = new Promise((resolve) => {
      jest.spyOn(process, 'emitWarning').mockImplementation((...given) => resolve(given));
    });
    const listeners = new Listeners(new EventEmitter(), MANAGER, () => {});
    listeners.missed(missed);
    for (let i = 0; i < 1000; i += 1)
      listeners.missed({ room: `r${i}`, reason: 'failover', after: null, position: null });
    const [text, { code }] = await told;
    expect(code).toBe('ACTORY_WS_MISSED');
    expect(text).toContain('users 1, of rooms 1000 (failover 1001)');
    listeners.end();
    expect(process.emitWarning).toHaveBeenCalledTimes(1);
  });

  test('that nobody has been warned of is told of when the manager ends', () => {
    const list = warnings();
    const listeners = new Listeners(new EventEmitter(), MANAGER, () => {});
    listeners.missed({ room: 'tea', reason: 'trimmed', after: null, position: null });
    expect(list).toEqual([]);
    listeners.end();
    listeners.end();
    expect(list).toEqual([expect.objectContaining({ code: 'ACTORY_WS_MISSED' })]);
    expect(list[0].message).toContain('users 0, of rooms 1 (trimmed 1)');
  });
});
