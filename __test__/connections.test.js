'use strict';

const { once } = require('node:events');
const { inspect } = require('node:util');
const { host } = require('./support/host');

const byQuery = {
  auth: { authenticate: ({ url }) => ({ userId: url.split('?')[1] ?? 'someone' }) },
  relay: false,
};

describe('manager.connections', () => {
  test('knows who is here', async () => {
    const { manager, pair, url } = await host(byQuery);
    const { connections } = manager;
    expect([connections.size, connections.userCount, connections.users()]).toEqual([0, 0, []]);
    const a1 = await pair({}, `${url}?alice`);
    const a2 = await pair({}, `${url}?alice`);
    const b = await pair({}, `${url}?bob`);
    expect([connections.size, connections.userCount, connections.users().sort()]).toEqual([
      3,
      2,
      ['alice', 'bob'],
    ]);
    expect(connections.ofUser('alice')).toEqual([a1.connection, a2.connection]);
    expect(connections.ofUser('nobody')).toEqual([]);
    expect(connections.inRoom('nowhere')).toEqual([]);
    expect([...connections]).toEqual([a1.connection, a2.connection, b.connection]);
    expect(connections.get(b.connection.id)).toBe(b.connection);
    expect(await manager.isOnline('bob')).toBe(true);
    expect(await manager.isOnline('nobody')).toBe(false);
  });

  test.each(['', 'x', '1', '-', '-1', 'xxxxxxxx-1', 'xxxxxxxx-99999999999999999999', '../../1', '\0'])(
    'has no connection %j',
    async (id) => {
      const { manager, connect: open } = await host(byQuery);
      await open({});
      expect(manager.connections.get(id)).toBeUndefined();
    },
  );

  test('makes one object per connection, whoever asks first', async () => {
    const { manager, connect: open, url } = await host(byQuery);
    const client = await open({}, `${url}?alice`);
    const [found] = manager.connections.ofUser('alice');
    expect(manager.connections.get(found.id)).toBe(found);
    found.data = 'mine';
    const message = once(manager, 'message');
    client.send('x');
    expect((await message)[0]).toBe(found);
    expect([...manager.connections]).toEqual([found]);
    expect(manager.connections.ofUser('alice')[0].data).toBe('mine');
  });

  test('forgets an object that nobody listened for when its connection ends', async () => {
    // On one thread, so that the end of the one is told before the end of the other.
    const { manager, connect: open, url } = await host({ ...byQuery, threads: 1 });
    const client = await open({}, `${url}?alice`);
    const [found] = manager.connections.ofUser('alice');
    await client.close();
    const other = await open({}, `${url}?bob`);
    const gone = once(manager, 'disconnect');
    other.close();
    await gone;
    expect(found.isOpen).toBe(false);
    expect(manager.connections.get(found.id)).toBeUndefined();
  });
});

describe('a connection', () => {
  test('says who it is also after it ended, and does nothing more', async () => {
    const { manager, pair, url } = await host(byQuery);
    const { client, connection } = await pair({}, `${url}?alice`);
    connection.join('r');
    connection.data = { kept: true };
    const { id } = connection;
    const gone = once(manager, 'disconnect');
    client.close(4000, 'tschüß');
    expect(await gone).toEqual([connection, 4000, 'tschüß', 'peer']);
    expect(connection).toMatchObject({
      id,
      userId: 'alice',
      remoteAddress: '127.0.0.1',
      protocol: '',
      isOpen: false,
    });
    expect(connection.data).toEqual({ kept: true });
    expect([connection.rooms, connection.bufferedAmount]).toEqual([[], 0]);
    expect(connection.send('x')).toBe(false);
    connection.close();
    connection.join('r');
    connection.leave('r');
    expect(manager.connections.inRoom('r')).toEqual([]);
  });

  test('closes with what it is told, after what was queued', async () => {
    const { pair, url } = await host(byQuery);
    const { client, connection } = await pair({}, `${url}?alice`);
    connection.send('last words');
    connection.close(4567, 'because');
    expect(connection.isOpen).toBe(false);
    expect(await client.next()).toBe('last words');
    expect(await client.closed).toEqual({ code: 4567, reason: 'because' });
  });

  test('takes no messages once it is being closed', async () => {
    const { pair, url } = await host(byQuery);
    const { client, connection } = await pair({}, `${url}?alice`);
    connection.close();
    const gone = client.closed;
    await gone;
    expect(connection.send('x')).toBe(false);
  });

  test('reports a client that says nothing of its end as 1006, and one without a code as 1005', async () => {
    const { manager, pair, url } = await host(byQuery);
    const first = await pair({}, `${url}?alice`);
    let gone = once(manager, 'disconnect');
    first.client.socket.terminate();
    expect((await gone)[1]).toBe(1006);
    const second = await pair({}, `${url}?alice`);
    gone = once(manager, 'disconnect');
    second.client.close();
    expect((await gone)[1]).toBe(1005);
  });

  test('is shown by console.log without its data', async () => {
    const { pair, url } = await host(byQuery);
    const { connection } = await pair({}, `${url}?alice`);
    connection.data = 'secret';
    expect(inspect(connection)).toMatch(/^Connection \{[\s\S]*userId: 'alice'/);
    expect(inspect(connection)).not.toContain('secret');
  });

  test('has an id of its own, also over managers', async () => {
    const first = await host({ ...byQuery, name: 'first' });
    const second = await host({ ...byQuery, name: 'second' });
    const a = await first.pair({}, `${first.url}?u`);
    const b = await second.pair({}, `${second.url}?u`);
    expect(a.connection.id).not.toBe(b.connection.id);
    expect(second.manager.connections.get(a.connection.id)).toBeUndefined();
  });
});
