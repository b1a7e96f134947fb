// Rooms that a client joins by itself.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { keep, pair } from './support/lab.mjs';
import { arrived, serve, visit } from './support/server.mjs';

const require = createRequire(import.meta.url);
const { RequestError } = require('../..');
const { RedisServer } = require('../support/redis-server');
const { sign } = require('../support/token');
const TIMEOUT = { timeout: 60_000 };

/** A manager whose clients may join what `join` permits, and one of them. */
async function meet(join, options) {
  const { manager, port } = await serve({ authorize: join && { join }, ...options });
  const { client, ...rest } = await visit(() => port, 'user=ada');
  return { manager, port, made: client, ...rest };
}

describe('a client', TIMEOUT, () => {
  test('may join and leave nothing unless the application says so', async () => {
    const { manager, made } = await meet();
    await assert.rejects(made.join('tea'), { code: 'ERR_JOIN_REFUSED' });
    await assert.rejects(made.leave('tea'), { code: 'ERR_JOIN_REFUSED' });
    assert.deepEqual(manager.connections.inRoom('tea'), []);
  });

  test('joins what the application permits, and leaves it', async () => {
    const asked = [];
    const { manager, made, next } = await meet(async (connection, room) => {
      asked.push([connection.userId, room]);
      await setImmediate();
      return room === 'tea';
    });
    await made.join('tea');
    assert.deepEqual(await next('joined'), { room: 'tea' });
    await manager.sendToRoom('tea', 'hello');
    assert.equal((await next('message')).data, 'hello');
    await made.join('tea');
    for (const room of ['coffee', 'tea:1'])
      await assert.rejects(made.join(room), { code: 'ERR_JOIN_REFUSED' });
    assert.deepEqual(made.rooms, ['tea']);
    await made.leave('tea');
    assert.deepEqual(await next('left'), { room: 'tea' });
    assert.deepEqual([made.rooms, manager.connections.inRoom('tea')], [[], []]);
    assert.deepEqual(asked, [
      ['ada', 'tea'],
      ['ada', 'coffee'],
      ['ada', 'tea:1'],
    ]);
  });

  test('is refused by whatever is not true', async () => {
    const { made } = await meet((_connection, room) => ({ one: 1, yes: 'yes', object: {} })[room]);
    for (const room of ['one', 'yes', 'object', 'none']) {
      await assert.rejects(made.join(room), { code: 'ERR_JOIN_REFUSED' });
    }
    await assert.rejects(made.join(''), { code: 'ERR_INVALID_MESSAGE' });
    await assert.rejects(made.join('x'.repeat(257)), { code: 'ERR_INVALID_MESSAGE' });
  });

  test('gets the code of the application, and of an error none of its words', async () => {
    let odd;
    const { manager, made } = await meet((_connection, room) => {
      if (room === 'odd') throw odd;
      if (room === 'vip') throw new RequestError('PAY_FIRST', 'only for members');
      throw new Error('secret');
    });
    const errors = [];
    manager.on('error', ({ code, cause }) => errors.push([code, cause.message]));
    await assert.rejects(made.join('vip'), { code: 'PAY_FIRST', message: 'only for members' });
    await assert.rejects(made.join('tea'), ({ code, message }) => {
      assert.equal(code, 'ERR_AUTH_FAILED');
      return !message.includes('secret');
    });
    assert.deepEqual(errors, [['ERR_AUTH_FAILED', 'secret']]);
    manager.removeAllListeners('error').on('error', () => {});
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    odd = proxy;
    await assert.rejects(made.join('odd'), { code: 'ERR_AUTH_FAILED' });
  });

  test('joins no more rooms than a connection may', async () => {
    const { made } = await meet(() => true, { limits: { roomsPerConnection: 1 } });
    await made.join('tea');
    await assert.rejects(made.join('coffee'), { code: 'ERR_TOO_MANY_ROOMS' });
  });

  test('joins what a claim of its token permits, and the application is asked about the rest', async () => {
    const secret = 'a secret of at least thirty-two bytes';
    const auth = { jwt: { secret } };
    const { manager, port } = await serve({
      auth,
      authorize: { claim: 'rooms', join: (_, room) => room === 'tea' },
    });
    const token = sign({ sub: 'ada', rooms: ['chat:*', 'org:7:**'] }, secret);
    const { client: made } = await visit(() => port, '', undefined, { token });
    for (const room of ['chat:1', 'org:7', 'org:7:a:b', 'tea']) await made.join(room);
    for (const room of ['chat:1:2', 'org:8', 'coffee']) {
      await assert.rejects(made.join(room), { code: 'ERR_JOIN_REFUSED' });
    }
    assert.equal(manager.connections.inRoom('chat:1').length, 1);
  });
});

describe('a client that comes back', TIMEOUT, () => {
  for (const over of ['one server', 'Redis']) {
    test(`joins its rooms again, and gets what it missed of them, over ${over}`, async () => {
      const redis = over === 'Redis' ? { url: keep(await RedisServer.start()).url } : false;
      const { manager, made, tunnel, got, missed, next } = await meet(
        async () => {
          await setImmediate();
          return true;
        },
        { redis },
      );
      await manager.ready();
      await made.join('tea');
      await next('joined');
      for (let number = 0; number < 100; number += 1) {
        if (number % 20 === 10) tunnel.cut();
        await manager.sendToRoom('tea', number);
      }
      await arrived(got['room:tea'], 100);
      assert.deepEqual([got['room:tea'], missed], [[...Array(100).keys()], []]);
      assert.deepEqual(made.rooms, ['tea']);
    });
  }

  test('is asked about again, and out of a room that it may not join any more', async () => {
    let permits = true;
    const { manager, made, tunnel, next, got } = await meet(() => permits);
    await made.join('tea');
    await next('joined');
    permits = false;
    tunnel.cut();
    await manager.sendToRoom('tea', 'secret');
    assert.deepEqual(await next('left'), { room: 'tea' });
    assert.equal((await next('error')).code, 'ERR_JOIN_REFUSED');
    assert.deepEqual([made.rooms, got['room:tea']], [[], []]);
    assert.deepEqual(manager.connections.inRoom('tea'), []);
  });

  test('does not join what the application has taken it out of, or what it has left', async () => {
    const asked = [];
    const { manager, made, tunnel, next, status } = await meet((_connection, room) => asked.push(room) > 0);
    await Promise.all([made.join('tea'), made.join('coffee'), made.join('milk')]);
    for (let i = 0; i < 3; i += 1) await next('joined');
    manager.connections.inRoom('tea')[0].leave('tea');
    assert.deepEqual(await next('left'), { room: 'tea' });
    tunnel.cut();
    await status('waiting');
    await made.leave('coffee');
    assert.deepEqual(made.rooms, ['milk']);
    await status('open');
    while (manager.connections.inRoom('milk').length === 0) await setImmediate();
    assert.deepEqual(asked, ['tea', 'coffee', 'milk', 'milk']);
  });

  test('joins what it wished to while it was away, or closed', async () => {
    const { made, tunnel, status } = await meet(() => true);
    tunnel.cut();
    await status('waiting');
    const wish = made.join('tea');
    assert.equal(made.join('tea'), wish);
    await wish;
    made.close();
    await assert.rejects(made.join('coffee'), { code: 'ERR_CLOSED' });
    assert.deepEqual(made.rooms, ['tea']);
    made.reconnect();
    await made.join('coffee');
    assert.deepEqual(made.rooms.sort(), ['coffee', 'tea']);
  });

  test('joins and leaves in order, whoever permits the room', async () => {
    const secret = 'a secret of at least thirty-two bytes';
    const join = async () => {
      await setImmediate();
      return true;
    };
    const options = { auth: { jwt: { secret } }, authorize: { claim: 'rooms', join } };
    const { manager, port } = await serve(options);
    const token = sign({ sub: 'ada', rooms: ['granted'] }, secret);
    const { client: made } = await visit(() => port, '', undefined, { token });
    for (const room of ['granted', 'asked']) {
      for (let round = 0; round < 20; round += 1) {
        made.join(room);
        await setImmediate();
        const left = made.leave(room);
        await setImmediate();
        await Promise.all([left, made.join(room)]);
        assert.equal(manager.connections.inRoom(room).length, 1);
        await made.leave(room);
        assert.equal(manager.connections.inRoom(room).length, 0);
      }
    }
  });

  test('is not in a room that it has left before the application had decided', async () => {
    const { manager, made } = await meet(async () => {
      await setImmediate();
      return true;
    });
    const joined = made.join('tea');
    const left = made.leave('tea');
    await assert.rejects(joined, { code: 'ERR_LEFT' });
    await left;
    assert.deepEqual([made.rooms, manager.connections.inRoom('tea')], [[], []]);
    const [again] = [made.join('tea'), made.leave('tea'), made.join('tea')].reverse();
    await again;
    assert.equal(manager.connections.inRoom('tea').length, 1);
  });

  test('stays in a room that it leaves and joins again, also after a break', async () => {
    const { manager, made, tunnel, status } = await meet(() => true);
    await made.join('tea');
    const left = made.leave('tea');
    await setImmediate();
    const joined = made.join('tea');
    await Promise.all([left, joined]);
    tunnel.cut();
    await status('waiting');
    await status('open');
    while (manager.connections.inRoom('tea').length === 0) await setImmediate();
    assert.deepEqual(made.rooms, ['tea']);
  });

  test('sends what waited to the rooms that it is in again', async () => {
    const join = async () => {
      await setImmediate();
      return true;
    };
    const { manager, made, tunnel, got, status } = await meet(join, { relay: 'rooms' });
    await Promise.all([made.join('tea'), made.join('coffee')]);
    const sent = [];
    for (let round = 0; round < 3; round += 1) {
      tunnel.cut();
      await status('waiting');
      sent.push(made.send(round));
      await status('open');
    }
    await Promise.all(sent);
    while (got['room:tea'].length < 3) await setImmediate();
    assert.deepEqual(got['room:tea'], [0, 1, 2]);
    const { messages } = await manager.history({ room: 'coffee' });
    assert.equal(messages.length, 3);
  });

  test('joins its rooms again if it is nobody, and none of them if it is somebody else', async () => {
    const anonymous = await serve({ auth: 'anonymous', authorize: { join: () => true }, name: 'anonymous' });
    const { client: nobody, tunnel, missed, got } = await visit(() => anonymous.port, '');
    await nobody.join('tea');
    while (anonymous.manager.connections.inRoom('tea').length === 0) await setImmediate();
    tunnel.cut();
    await anonymous.manager.sendToRoom('tea', 'missed');
    await arrived(got['room:tea'], 'missed');
    assert.deepEqual([nobody.rooms, missed], [['tea'], []]);

    const { server, connection, client: made, status } = await pair();
    const joined = made.join('tea');
    await connection.next();
    connection.socket.terminate();
    await status('waiting');
    const again = await server.next();
    again.send({
      type: 'hello',
      userId: '43',
      connectionId: 'd',
      session: 's',
      now: 0,
      heartbeatMs: 0,
      topics: [],
    });
    await assert.rejects(joined, { code: 'ERR_USER_CHANGED' });
    made.send('next');
    assert.equal((await again.next()).data, 'next');
  });

  test('gives up a wish that it takes back, and all of them when it is closed', async () => {
    const { connection, client: made } = await pair();
    const [tea, coffee] = [made.join('tea'), made.join('coffee')];
    assert.deepEqual(await connection.next(), { type: 'join', id: '1', room: 'tea' });
    made.leave('tea');
    await assert.rejects(tea, { code: 'ERR_LEFT' });
    made.close();
    await assert.rejects(coffee, { code: 'ERR_CLOSED' });
  });

  test('asks again when the server could not find out whether it may come back', async (context) => {
    const { server, connection, client: made, events } = await pair();
    const joined = made.join('tea');
    await connection.next();
    connection.send({ type: 'ack', id: '1' });
    await joined;
    context.mock.method(Math, 'random', () => 0);
    connection.socket.terminate();
    const again = (await server.next()).hello();
    assert.deepEqual(await again.next(), { type: 'join', id: '2', room: 'tea' });
    again.send({ type: 'error', id: '2', code: 'ERR_AUTH_FAILED', message: 'x' });
    assert.deepEqual(await again.next(), { type: 'join', id: '3', room: 'tea' });
    assert.deepEqual(
      events.drain().filter(([name]) => name !== 'status'),
      [],
    );
  });
});
