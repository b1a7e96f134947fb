'use strict';

const { once } = require('node:events');
const { connect } = require('./support/client');
const { run, program } = require('./support/program');
const { startRedis } = require('./support/redis');
const { eventually, server, twoServers } = require('./support/servers');

describe('between servers', () => {
  test('a message for a user reaches all devices of that user and nobody else', async () => {
    const { one, two } = await twoServers();
    const phone = await one.connect('user=ada');
    const laptop = await two.connect('user=ada');
    const other = await two.connect('user=bob');
    const delivery = await one.manager.sendToUser('ada', { n: 1 });
    expect(delivery).toEqual({ status: 'published', nodes: 2, local: 1, position: null });
    await two.manager.sendToUser('ada', Buffer.from([1, 2]));
    await two.manager.sendToUser('bob', 'for bob');
    for (const device of [phone, laptop]) {
      expect(await device.nextJson()).toEqual({ n: 1 });
      expect(await device.next()).toEqual(Buffer.from([1, 2]));
    }
    expect(await other.next()).toBe('for bob');
  });

  test('a message for a user who is nowhere reaches 0 servers', async () => {
    const { one } = await twoServers();
    expect(await one.manager.sendToUser('nobody', 'x')).toEqual({
      status: 'published',
      nodes: 0,
      local: 0,
      position: null,
    });
  });

  test('a message for a room reaches those who are in it, also those who joined later', async () => {
    const { one, two } = await twoServers();
    const ada = await one.connect('user=ada&room=tea');
    const met = once(two.manager, 'connection');
    const bob = await two.connect('user=bob');
    const [connection] = await met;
    expect(await one.manager.sendToRoom('tea', '1')).toEqual({
      status: 'published',
      nodes: 1,
      local: 1,
      position: null,
    });
    connection.join('tea');
    expect(await two.manager.sendToRoom('tea', '2')).toEqual({
      status: 'published',
      nodes: 2,
      local: 1,
      position: null,
    });
    expect([await ada.next(), await ada.next(), await bob.next()]).toEqual(['1', '2', '2']);
  });

  test('a broadcast reaches everyone', async () => {
    const { one, two } = await twoServers();
    const clients = [
      await one.connect('user=ada'),
      await two.connect('user=bob'),
      await two.connect('user=cyd'),
    ];
    expect(await two.manager.broadcast('all')).toEqual({
      status: 'published',
      nodes: 2,
      local: 2,
      position: null,
    });
    for (const client of clients) expect(await client.next()).toBe('all');
  });

  test("what a client says reaches the other devices of its user, in the client's order", async () => {
    const { one, two } = await twoServers();
    const phone = await one.connect('user=ada');
    const laptop = await two.connect('user=ada');
    for (let n = 0; n < 100; n += 1) phone.send(String(n));
    for (const device of [phone, laptop]) {
      for (let n = 0; n < 100; n += 1) expect(await device.next()).toBe(String(n));
    }
  });

  test('messages of several servers keep the order of each server, and the same one on all devices', async () => {
    const { one, two } = await twoServers({ redis: { connections: 4 } });
    const devices = [await one.connect('user=ada'), await two.connect('user=ada')];
    const sent = [];
    for (let n = 0; n < 200; n += 1) {
      sent.push(one.manager.sendToUser('ada', ['one', n]), two.manager.sendToUser('ada', ['two', n]));
    }
    const [first, second] = await Promise.all(
      devices.map(async (device) => {
        const got = [];
        for (let n = 0; n < 400; n += 1) got.push(await device.nextJson());
        return got;
      }),
    );
    expect(second).toEqual(first);
    const numbers = [...Array(200).keys()];
    for (const name of ['one', 'two']) {
      expect(first.filter(([from]) => from === name).map(([, n]) => n)).toEqual(numbers);
    }
    await Promise.all(sent);
  });

  test('a message published right after a client saw its connection open reaches it', async () => {
    const { one, two } = await twoServers();
    await Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        const client = await one.connect(`user=new-${n}`);
        const { nodes } = await two.manager.sendToUser(`new-${n}`, 'welcome');
        expect([nodes, await client.next()]).toEqual([1, 'welcome']);
      }),
    );
  });

  test('apps with different prefixes do not hear each other', async () => {
    const redis = await startRedis();
    const [one, two] = [await server(redis), await server(redis, { redis: { prefix: 'other' } })];
    const [ada, other] = [await one.connect('user=ada'), await two.connect('user=ada')];
    expect((await one.manager.sendToUser('ada', 'one')).nodes).toBe(1);
    expect((await two.manager.broadcast('two')).nodes).toBe(1);
    expect([await ada.next(), await other.next()]).toEqual(['one', 'two']);
  });

  test('a user is disconnected everywhere, with the code and reason given', async () => {
    const { one, two } = await twoServers();
    const devices = [
      await one.connect('user=ada'),
      await two.connect('user=ada'),
      await two.connect('user=ada'),
    ];
    const other = await two.connect('user=bob');
    const delivery = await one.manager.disconnectUser('ada', 4321, 'moved');
    expect(delivery).toMatchObject({ status: 'published', local: 1 });
    for (const device of devices) expect(await device.closed).toEqual({ code: 4321, reason: 'moved' });
    await one.manager.disconnectUser('bob');
    expect((await other.closed).code).toBe(4002);
  });

  test('a user is online on any server until the last connection is gone', async () => {
    const { one, two } = await twoServers({ redis: { graceMs: 0 } });
    expect(await one.manager.isOnline('ada')).toBe(false);
    const ada = await two.connect('user=ada');
    expect([await one.manager.isOnline('ada'), await two.manager.isOnline('ada')]).toEqual([true, true]);
    await ada.close();
    await eventually(() => one.manager.isOnline('ada'), false);
  });

  test('connections are counted over all servers', async () => {
    const { one, two } = await twoServers();
    for (const to of [one, two, two]) await to.connect('user=ada');
    await one.connect('user=bob');
    for (const { manager } of [one, two]) {
      expect(await manager.countConnections()).toEqual({ connections: 4, servers: 2, complete: true });
      expect(await manager.countConnections('ada')).toEqual({ connections: 3, servers: 2, complete: true });
      expect(await manager.countConnections('zoe')).toEqual({ connections: 0, servers: 2, complete: true });
    }
  });

  test('a server that drains goes on sending to the users of others, until it is closed', async () => {
    const redis = await startRedis();
    const [one, two] = [await server(redis, { relay: false }), await server(redis)];
    one.manager.on('message', (connection, text) => one.manager.sendToUser('ada', [connection.userId, text]));
    const ada = await two.connect('user=ada');
    const clients = { bob: await one.connect('user=bob'), cyd: await one.connect('user=cyd') };
    const closed = one.manager.close({ drainMs: 60_000 });
    const [gone] = await once(one.manager, 'disconnect');
    const left = gone.userId === 'bob' ? 'cyd' : 'bob';
    expect(await one.manager.sendToUser('ada', 'from a route')).toMatchObject({
      status: 'published',
      nodes: 1,
    });
    expect(await ada.next()).toBe('from a route');
    clients[left].send('from a listener');
    expect(await ada.nextJson()).toEqual([left, 'from a listener']);
    await two.manager.sendToUser(left, 'back');
    expect(await clients[left].next()).toBe('back');
    await clients[left].close();
    await closed;
    await expect(one.manager.sendToUser('ada', 'x')).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  test('a channel of the application takes JSON, and says how many listen', async () => {
    const { redis, one } = await twoServers();
    expect(await one.manager.publish('orders', { id: 7 })).toBe(0);
    const cli = run('redis-cli', ['-s', redis.path, 'SUBSCRIBE', 'orders']);
    for (const line of ['subscribe', 'orders', '1']) expect(await cli.line()).toBe(line);
    expect(await one.manager.publish('orders', { id: 7, text: 'ä"' })).toBe(1);
    for (const line of ['message', 'orders', '{"id":7,"text":"ä\\""}']) expect(await cli.line()).toBe(line);
  });

  test('a server process that is killed takes its own users with it, and nobody else', async () => {
    const redis = await startRedis();
    const one = await server(redis, { redis: { graceMs: 0 } });
    const peer = program('peer.js', { env: { REDIS_URL: redis.url } });
    const url = await peer.line();
    const far = await connect(`${url}?user=ada`);
    const near = await one.connect('user=bob');
    expect(await one.manager.sendToUser('ada', 'hello')).toMatchObject({ status: 'published', nodes: 1 });
    expect(await far.next()).toBe('hello');
    expect(await one.manager.countConnections()).toEqual({ connections: 2, servers: 2, complete: true });
    peer.child.kill('SIGKILL');
    expect((await far.closed).code).toBe(1006);
    await eventually(() => one.manager.isOnline('ada'), false);
    expect((await one.manager.sendToUser('bob', 'still here')).nodes).toBe(1);
    expect(await near.next()).toBe('still here');
    expect(await one.manager.countConnections()).toEqual({ connections: 1, servers: 1, complete: true });
  });
});
