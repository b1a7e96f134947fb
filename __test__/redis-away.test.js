'use strict';

const { EventEmitter } = require('node:events');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { startRedis } = require('./support/redis');
const { eventually, server, twoServers } = require('./support/servers');

/** Gives up on a silent Redis sooner than the default does. */
const HASTY = { commandTimeoutMs: 400, probeIntervalMs: 100 };

/** The code of a README that makes up for what was missed, beside this manager; `stored` is what it asks for. */
function makeUp(readme, manager, stored, timer = setTimeout) {
  const code = readFileSync(join(__dirname, '..', readme), 'utf8')
    .match(/^```js\n[\s\S]*?^```$/gm)
    .map((block) => block.slice('```js\n'.length, -'```'.length))
    .find((block) => block.includes('const missed'));
  return new Function('manager', 'stored', 'setTimeout', `${code}; return send;`)(manager, stored, timer);
}

describe.each(['README.md', 'README.ja.md'])('the code of %s', (readme) => {
  test("makes up for a receiver's gap, and for a sender that comes back after it", async () => {
    const logins = ['one', 'two'].map((user) => `user ${user} on nopass ~* &* +@all`);
    const redis = await startRedis(logins);
    const [one, two] = [
      await server(redis, { redis: { username: 'one' } }),
      await server(redis, { redis: { username: 'two' } }),
    ];
    const asked = [];
    const messages = [];
    /** All that was sent in a time, as a database knows it. */
    const stored = async (since, until) => {
      asked.push([since, until]);
      return messages.filter(({ at }) => at >= since && at <= until);
    };
    const send = makeUp(readme, one.manager, async () => []);
    makeUp(readme, two.manager, stored);
    const bob = await two.connect('user=bob');
    await send('bob', 'before');
    expect(await bob.next()).toBe('before');

    const [down, gap] = [one.statuses.down(), two.statuses.gap()];
    await redis.command('ACL', 'SETUSER', 'one', 'off');
    await redis.command('ACL', 'SETUSER', 'two', 'off');
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await down;
    await eventually(() => two.manager.stats().broker.state, 'down');
    // Somebody else's, while nobody hears.
    messages.push({ userId: 'bob', message: 'in the gap', at: Date.now() });
    await redis.command('ACL', 'SETUSER', 'two', 'on');
    const { gapUntil } = await gap;
    expect(await bob.next()).toBe('in the gap');

    // The receiver's gap is over, and the sender is still away: the gap does not cover this one.
    while (Date.now() <= gapUntil) await new Promise(setImmediate);
    await send('bob', 'after the gap');
    expect(one.manager.stats().broker).toMatchObject({ state: 'down', local: 1 });
    await redis.command('ACL', 'SETUSER', 'one', 'on');
    expect(await bob.next()).toBe('after the gap');
    expect(asked).toHaveLength(1);
    expect(two.manager.stats().broker.gaps).toBe(1);
  });
});

describe.each(['README.md', 'README.ja.md'])('what fails loses nothing by the code of %s', (readme) => {
  /** The code beside a manager of a test's own; `up` tells it that Redis is back. */
  function beside(sendToUser, stored) {
    const manager = new EventEmitter();
    const local = [];
    manager.sendToUser = sendToUser;
    manager.connections = { sendToUser: (_userId, message) => local.push(message) };
    const waiting = [];
    const setTimeout = (callback, _ms, ...args) => {
      waiting.push(() => callback(...args));
      return { unref() {} };
    };
    const send = makeUp(readme, manager, stored, setTimeout);
    return { send, local, waiting, up: (gap) => manager.emit('broker', { state: 'up', ...gap }) };
  }
  const turns = () => new Promise(setImmediate);

  test('neither a message that is rejected nor those behind it', async () => {
    let away = true;
    let isFull = true;
    const sent = [];
    const { send, up } = beside(async (_userId, message) => {
      if (away) return { status: 'local' };
      if (message === 'a' && isFull) throw new Error('ERR_BROKER_OVERLOADED');
      sent.push(message);
      return { status: 'published' };
    });
    for (const message of ['a', 'b', 'c']) await send('bob', message);
    away = false;
    up();
    await turns();
    expect(sent).toEqual(['b', 'c']);
    isFull = false;
    up();
    await turns();
    expect(sent).toEqual(['b', 'c', 'a']);
  });

  test('the gap for which the database was away, and no message beside it', async () => {
    let away = true;
    const sent = [];
    let status = 'local';
    const stored = async () => {
      if (away) throw new Error('no database');
      return [{ userId: 'bob', message: 'in the gap' }];
    };
    const { send, local, waiting, up } = beside(async (_userId, message) => {
      if (status === 'published') sent.push(message);
      return { status };
    }, stored);
    await send('bob', 'mine');
    status = 'published';
    up({ gapSince: 1, gapUntil: 2 });
    await turns();
    expect([sent, local, waiting.length]).toEqual([['mine'], [], 1]);
    away = false;
    await waiting[0]();
    expect(local).toEqual(['in the gap']);
  });
});

describe('while Redis is away', () => {
  test('nobody is disconnected, who is here is served, and all is as before when it is back', async () => {
    const { redis, one, two } = await twoServers();
    const [ada, bob] = [await one.connect('user=ada&room=tea'), await two.connect('user=bob&room=tea')];
    const began = Date.now();
    const downs = [one.statuses.down(), two.statuses.down()];
    await redis.kill();
    const [down] = await Promise.all(downs);
    expect(down.error).toMatchObject({ name: 'Error', code: 'ERR_BROKER_CONNECT' });
    expect(down.since).toBeGreaterThanOrEqual(began);
    expect(down.since).toBeLessThanOrEqual(Date.now());
    expect(down.gapSince).toBeUndefined();

    expect(await one.manager.sendToUser('ada', '1')).toEqual({
      status: 'local',
      nodes: null,
      local: 1,
      position: null,
    });
    expect(await one.manager.sendToUser('bob', 'lost')).toEqual({
      status: 'local',
      nodes: null,
      local: 0,
      position: null,
    });
    expect(await two.manager.sendToRoom('tea', '2')).toEqual({
      status: 'local',
      nodes: null,
      local: 1,
      position: null,
    });
    expect(await one.manager.broadcast('3')).toEqual({
      status: 'local',
      nodes: null,
      local: 1,
      position: null,
    });
    const unavailable = { name: 'Error', code: 'ERR_BROKER_UNAVAILABLE' };
    const strict = { require: 'cluster' };
    await expect(one.manager.sendToUser('ada', 'no', strict)).rejects.toMatchObject(unavailable);
    await expect(one.manager.sendToRoom('tea', 'no', strict)).rejects.toMatchObject(unavailable);
    await expect(one.manager.broadcast('no', strict)).rejects.toMatchObject(unavailable);
    await expect(one.manager.publish('orders', 1)).rejects.toMatchObject(unavailable);
    await expect(one.manager.isOnline('bob')).rejects.toMatchObject(unavailable);
    expect(await one.manager.isOnline('ada')).toBe(true);
    expect(await one.manager.countConnections()).toEqual({ connections: 1, servers: 1, complete: false });
    expect(one.manager.stats().broker).toMatchObject({
      kind: 'redis',
      state: 'down',
      code: 'ERR_BROKER_CONNECT',
    });

    const ups = [one.statuses.gap(), two.statuses.gap()];
    await redis.restart();
    for (const { state, gapSince, gapUntil, error } of await Promise.all(ups)) {
      expect([state, error]).toEqual(['up', undefined]);
      expect(gapSince).toBeLessThanOrEqual(down.since);
      expect(gapUntil).toBeGreaterThanOrEqual(down.since);
      expect(gapUntil).toBeLessThanOrEqual(Date.now());
    }
    expect(await one.manager.sendToUser('bob', '4')).toMatchObject({ status: 'published', nodes: 1 });
    expect(await two.manager.sendToUser('ada', '4', strict)).toMatchObject({ status: 'published', nodes: 1 });
    expect(await one.manager.countConnections()).toEqual({ connections: 2, servers: 2, complete: true });
    expect([await ada.next(), await ada.next(), await ada.next()]).toEqual(['1', '3', '4']);
    expect([await bob.next(), await bob.next()]).toEqual(['2', '4']);
    for (const { manager } of [one, two]) {
      expect(manager.stats()).toMatchObject({ connections: 1, closed: {}, broker: { state: 'up', gaps: 1 } });
    }
  });

  test('a client is told that its message went no further', async () => {
    const { redis, one } = await twoServers();
    const [phone, laptop] = [await one.connect('user=ada'), await one.connect('user=ada')];
    const down = one.statuses.down();
    await redis.kill();
    await down;
    phone.send('"hello"');
    expect(await laptop.next()).toBe('"hello"');
    expect(await phone.next()).toBe('"hello"');
    expect(await phone.nextJson()).toMatchObject({ error: { code: 'ERR_BROKER_UNAVAILABLE' } });
  });

  test('a user is disconnected here', async () => {
    const { redis, one } = await twoServers();
    const ada = await one.connect('user=ada');
    const down = one.statuses.down();
    await redis.kill();
    await down;
    // Nobody, if not everybody can be.
    const strict = one.manager.disconnectUser('ada', undefined, undefined, { require: 'cluster' });
    await expect(strict).rejects.toMatchObject({ code: 'ERR_BROKER_UNAVAILABLE' });
    expect(await one.manager.disconnectUser('ada', 4003)).toEqual({
      status: 'local',
      nodes: null,
      local: 1,
      position: null,
    });
    expect((await ada.closed).code).toBe(4003);
  });

  test('clients are let in, and counted as unconfirmed', async () => {
    const { redis, one, two } = await twoServers();
    const down = one.statuses.down();
    await redis.kill();
    await down;
    const ada = await one.connect('user=ada');
    expect(one.manager.stats().broker.unconfirmed).toBe(1);
    const ups = [one.statuses.up(), two.statuses.up()];
    await redis.restart();
    await Promise.all(ups);
    expect((await two.manager.sendToUser('ada', 'hello')).nodes).toBe(1);
    expect(await ada.next()).toBe('hello');
  });

  test('what was under way when it died is uncertain, and not served here', async () => {
    const { redis, one } = await twoServers();
    const ada = await one.connect('user=ada');
    const degraded = one.statuses.degraded();
    redis.pause();
    const strict = { require: 'cluster' };
    const sends = [one.manager.sendToUser('ada', '1'), one.manager.broadcast('2')];
    const strictly = one.manager.sendToUser('ada', '3', strict);
    const published = one.manager.publish('orders', 4);
    // The late messages were written.
    await degraded;
    const down = one.statuses.down();
    await redis.kill();
    await down;
    for (const send of sends)
      expect(await send).toEqual({ status: 'uncertain', nodes: null, local: 1, position: null });
    await expect(strictly).rejects.toMatchObject({ name: 'Error', code: 'ERR_UNCERTAIN' });
    await expect(published).rejects.toMatchObject({ name: 'Error', code: 'ERR_UNCERTAIN' });
    expect((await one.manager.sendToUser('ada', 'first')).status).toBe('local');
    expect(await ada.next()).toBe('first');
    expect(one.manager.stats().broker).toMatchObject({ uncertain: 3, pending: 0, pendingBytes: 0 });
  });

  test('a stand-still degrades, and is forgotten when Redis goes on', async () => {
    const { redis, one } = await twoServers();
    const ada = await one.connect('user=ada');
    const degraded = one.statuses.degraded();
    redis.pause();
    const late = one.manager.sendToUser('ada', 'late');
    expect((await degraded).error).toMatchObject({ code: 'ERR_BROKER_TIMEOUT' });
    const up = one.statuses.up();
    redis.resume();
    expect((await up).gapSince).toBeUndefined();
    expect((await late).status).toBe('published');
    expect(await ada.next()).toBe('late');
  });

  test('a Redis that looks alive and says nothing is down after commandTimeoutMs', async () => {
    const { redis, one } = await twoServers({ redis: HASTY });
    const down = one.statuses.down();
    const began = Date.now();
    redis.pause();
    expect((await down).error.code).toBe('ERR_BROKER_TIMEOUT');
    expect(Date.now() - began).toBeLessThan(5000);
    const up = one.statuses.gap();
    redis.resume();
    expect((await up).gapSince).toBeLessThanOrEqual(began + 100);
  });

  test('more than redis.pendingBytes is refused', async () => {
    const { redis, one } = await twoServers({ redis: { pendingBytes: 65_536 } });
    redis.pause();
    const sends = Array.from({ length: 8 }, () => one.manager.sendToUser('ada', 'x'.repeat(20_000)));
    await expect(sends.at(-1)).rejects.toMatchObject({ name: 'Error', code: 'ERR_BROKER_OVERLOADED' });
    redis.resume();
    expect((await sends[0]).status).toBe('published');
  });
});
