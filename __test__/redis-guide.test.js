'use strict';

const { connect } = require('./support/client');
const { program } = require('./support/program');
const { startRedis } = require('./support/redis');
const { server } = require('./support/servers');

const SHARED = { redis: { routing: 'shared' } };

/** A server as the guide prints it, in a process of its own. Answers with what makes clients of it. */
async function startOld(redis) {
  const { line } = program('../fixtures/guide-server.mjs', { env: { REDIS_URL: redis.url } });
  const [, port] = (await line()).split(' ');
  return (user) => connect(`ws://127.0.0.1:${port}/?user=${user}`);
}

async function oldAndNew(options = SHARED) {
  const redis = await startRedis();
  return { redis, connectOld: await startOld(redis), ours: await server(redis, options) };
}

describe("servers of the guide, and ours with routing 'shared'", () => {
  test("hear each other's clients, each message once and in order", async () => {
    const { ours, connectOld } = await oldAndNew();
    const [phone, laptop] = [await connectOld('ada'), await ours.connect('user=ada')];
    const stranger = await ours.connect('user=bob');
    for (let n = 0; n < 100; n += 1) {
      phone.send(JSON.stringify({ from: 'phone', n }));
      laptop.send(JSON.stringify({ from: 'laptop', n }));
    }
    const numbers = [...Array(100).keys()];
    for (const device of [phone, laptop]) {
      const got = [];
      for (let n = 0; n < 200; n += 1) got.push(await device.nextJson());
      for (const from of ['phone', 'laptop']) {
        expect(got.filter((message) => message.from === from).map(({ n }) => n)).toEqual(numbers);
      }
    }
    await ours.manager.sendToUser('ada', 'the end');
    await ours.manager.sendToUser('bob', 'the end');
    // Nothing came twice, and nothing came to somebody else.
    expect([await phone.next(), await laptop.next()]).toEqual(['"the end"', 'the end']);
    expect(await stranger.next()).toBe('the end');
  });

  test('share what sendToUser sends, as JSON', async () => {
    const { redis, ours, connectOld } = await oldAndNew();
    const another = await server(redis, SHARED);
    const [old, near, far] = [
      await connectOld('ada'),
      await ours.connect('user=ada'),
      await another.connect('user=ada'),
    ];
    const delivery = await ours.manager.sendToUser('ada', { text: 'ä"\n', list: [1, null] });
    // The number of listening servers says nothing about the user.
    expect(delivery).toEqual({ status: 'published', nodes: null, local: 1, position: null });
    await ours.manager.sendToUser('ada', '[1,  2]');
    await ours.manager.sendToUser('ada', 'no JSON');
    await another.manager.sendToUser('ada', 7);
    for (const device of [near, far]) {
      expect(await device.nextJson()).toEqual({ text: 'ä"\n', list: [1, null] });
      expect(await device.next()).toBe('[1,  2]');
      expect(await device.next()).toBe('no JSON');
      expect(await device.next()).toBe('7');
    }
    expect(await old.nextJson()).toEqual({ text: 'ä"\n', list: [1, null] });
    expect([await old.next(), await old.next(), await old.next()]).toEqual(['[1,2]', '"no JSON"', '7']);
  });

  test('cannot share binary data', async () => {
    const { ours } = await oldAndNew();
    const error = { name: 'TypeError', code: 'ERR_NOT_REPRESENTABLE' };
    await expect(ours.manager.sendToUser('ada', Buffer.from('x'))).rejects.toMatchObject(error);
    expect((await ours.manager.broadcast(Buffer.from('x'))).status).toBe('published');
  });

  test('find each other when Redis is back', async () => {
    const redis = await startRedis();
    const ours = await server(redis, SHARED);
    const laptop = await ours.connect('user=ada');
    const gap = ours.statuses.gap();
    await redis.restart();
    await gap;
    // A server of the guide doesn't outlive its Redis.
    const connectOld = await startOld(redis);
    const phone = await connectOld('ada');
    await ours.manager.sendToUser('ada', 1);
    expect([await phone.next(), await laptop.next()]).toEqual(['1', '1']);
    phone.send('2');
    expect([await phone.next(), await laptop.next()]).toEqual(['2', '2']);
  });
});

test('a server with routing of its own hears those of the guide, and is not heard by them', async () => {
  const { ours, connectOld } = await oldAndNew({});
  const [phone, laptop] = [await connectOld('ada'), await ours.connect('user=ada')];
  expect(await ours.manager.sendToUser('ada', '1')).toMatchObject({ status: 'published', nodes: 1 });
  phone.send('2');
  expect([await laptop.next(), await laptop.next()]).toEqual(['1', '2']);
  expect(await phone.next()).toBe('2');
});

test.each([
  ['no JSON', 'x'],
  ['no object', '5'],
  ['no userId', '{"data":1}'],
  ['no data', '{"userId":"ada"}'],
  ['an impossible userId', '{"userId":"","data":1}'],
])('a message on the shared channel with %s is skipped, and said to have been', async (_what, payload) => {
  const redis = await startRedis();
  const { manager, connect: open } = await server(redis, SHARED);
  const ada = await open('user=ada');
  const problem = new Promise((resolve) => manager.once('error', resolve));
  await redis.command('PUBLISH', 'actory:messages', payload);
  expect(await problem).toMatchObject({ name: 'Error', code: 'ERR_BAD_MESSAGE' });
  await redis.command('PUBLISH', 'actory:messages', '{"userId":"ada","data":{"a": 1}}');
  expect(await ada.next()).toBe('{"a": 1}');
  expect(manager.stats().broker).toMatchObject({ state: 'up', ignored: 1 });
});
