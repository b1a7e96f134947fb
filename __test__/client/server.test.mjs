// The client with the server of this package: what is published while a page is away comes when it is back.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { keep } from './support/lab.mjs';
import { arrived, serve, serveApart, visit } from './support/server.mjs';

const require = createRequire(import.meta.url);
const { WebSocketManager } = require('../..');
const { byQuery } = require('../support/identity');
const { RedisServer } = require('../support/redis-server');
const TIMEOUT = { timeout: 60_000 };
const numbers = (count) => Array.from({ length: count }, (_, number) => number);

test('a page whose network breaks again and again gets each message once and in order', TIMEOUT, async () => {
  const COUNT = 600;
  const { manager, port } = await serve({ history: { size: COUNT } });
  const { got, missed, tunnel } = await visit(
    () => port,
    'user=ada&room=tea',
    () => 14_000 + Math.floor(Math.random() * 6_000),
  );
  for (let number = 0; number < COUNT; number += 1) {
    await Promise.all([manager.sendToUser('ada', number), manager.sendToRoom('tea', number)]);
    if (number % 5 === 0) await setTimeout(2);
  }
  await Promise.all([arrived(got.user, COUNT), arrived(got['room:tea'], COUNT)]);
  assert.deepEqual(got, { user: numbers(COUNT), 'room:tea': numbers(COUNT) });
  assert.deepEqual(missed, []);
  assert.ok(tunnel.cuts > 3, `${tunnel.cuts} cuts`);
});

test(
  'a page whose server is killed gets from another one what was published meanwhile',
  TIMEOUT,
  async () => {
    const COUNT = 400;
    const redis = keep(await RedisServer.start());
    const [first, second] = await Promise.all([serveApart(redis), serveApart(redis)]);
    const { manager } = await serve({ history: { size: COUNT }, redis: { url: redis.url } });
    await manager.ready();
    let { port } = first;
    const { got, missed, next } = await visit(() => port, 'user=ada');
    assert.deepEqual(await next('joined'), { room: 'tea' });
    for (let number = 0; number < COUNT; number += 1) {
      if (number === COUNT / 2) {
        first.child.kill('SIGKILL');
        port = second.port;
      }
      await Promise.all([manager.sendToUser('ada', number), manager.sendToRoom('tea', number)]);
      if (number % 5 === 0) await setTimeout(2);
    }
    await Promise.all([arrived(got.user, COUNT), arrived(got['room:tea'], COUNT)]);
    assert.deepEqual(got, { user: numbers(COUNT), 'room:tea': numbers(COUNT) });
    assert.deepEqual(missed, []);
  },
);

test('a page is told why what it missed can not be had', TIMEOUT, async () => {
  const redis = keep(await RedisServer.start());
  const { manager, port } = await serve({ history: { size: 5 }, redis: { url: redis.url } });
  await manager.ready();
  let isAway = false;
  const { tunnel, status, next, got } = await visit(() => (isAway ? 1 : port), 'user=ada&room=tea');
  await manager.sendToUser('ada', 0);
  await next('message');
  const leave = async () => {
    isAway = true;
    tunnel.cut();
    await status('waiting');
  };
  await leave();
  for (let number = 1; number < 10; number += 1) await manager.sendToUser('ada', number);
  isAway = false;
  assert.deepEqual(await next('missed'), { topic: 'user', room: undefined, reason: 'trimmed' });
  await arrived(got.user, 10);
  assert.deepEqual(got.user, [0, 5, 6, 7, 8, 9]);
  await leave();
  await redis.command('FLUSHALL');
  await manager.sendToUser('ada', 10);
  isAway = false;
  assert.deepEqual(await next('missed'), { topic: 'user', room: undefined, reason: 'emptied' });
  await arrived(got.user, 11);
});

test(
  'a connection that the application upgrades itself resumes the rooms that it is put into',
  TIMEOUT,
  async () => {
    const server = createServer();
    const manager = new WebSocketManager(null, { auth: byQuery, redis: false, history: true });
    keep({ close: () => manager.close().then(() => server.close()) });
    server.on('upgrade', async (request, socket, head) => {
      const connection = await manager.handleUpgrade(request, socket, head);
      connection.join('tea');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { tunnel, next, got, missed } = await visit(() => server.address().port, 'user=ada');
    await next('joined');
    await manager.sendToRoom('tea', 0);
    await next('message');
    tunnel.cut();
    await manager.sendToRoom('tea', 1);
    await arrived(got['room:tea'], 2);
    assert.deepEqual([got['room:tea'], missed], [[0, 1], []]);
  },
);

test(
  'what a client sends comes to listeners as from a plain one, which gets no envelope',
  TIMEOUT,
  async () => {
    const { manager, port } = await serve({ relay: 'user' });
    const heard = once(manager, 'message');
    const plain = new WebSocket(`ws://127.0.0.1:${port}/api/websocket?user=ada`);
    keep({ close: () => plain.terminate() });
    await once(plain, 'open');
    const came = once(plain, 'message');
    const { client: made, next } = await visit(() => port, 'user=ada');
    made.send({ n: 1 });
    const [connection, data, isBinary] = await heard;
    assert.deepEqual([connection.protocol, data, isBinary], ['actory.v1', '{"n":1}', false]);
    assert.equal(String((await came)[0]), '{"n":1}');
    assert.deepEqual((await next('message')).data, { n: 1 });
  },
);
