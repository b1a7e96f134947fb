// A server of the run: the package as an application uses it, which sends numbered messages to users, rooms and everyone.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { WebSocketManager } from '../index.mjs';
import { Status } from './ledger.mjs';
import { Log } from './log.mjs';
import { Plan } from './plan.mjs';
import { serve, settings, tell } from './worker.mjs';

const { number, redis, connections, rate } = settings();
const plan = new Plan(connections);

/** Sends are spread evenly over ticks of so long. */
const TICK_MS = 20;
/** Rooms and everyone are many: one in so many messages is for one of them. */
const WIDE_EVERY = 25;
/** One in so many messages is for all servers or for none. */
const STRICT_EVERY = 7;
/** One in so many is long, so that a link that stands still has written half a message. */
const LONG_EVERY = 41;
const LONG = 'x'.repeat(96 << 10);

const server = createServer();
const manager = new WebSocketManager(server, {
  auth: {
    authenticate({ url }) {
      const query = new URL(url, 'http://localhost').searchParams;
      return { userId: query.get('user'), rooms: [query.get('room')] };
    },
  },
  redis,
});
manager.on('broker', ({ state, error, gapSince, gapUntil }) => {
  tell('broker', { at: Date.now(), state, code: error?.code, gapSince, gapUntil });
});
manager.on('error', (error) => tell('trouble', { text: String(error) }));

/** Stream, number, when it was sent, when its promise was settled, as what. */
const sent = new Log(5);
const last = new Uint32Array(plan.streams);
let due = 0;
let user = 0;
let wide = 0;
let count = 0;
let unsettled = 0;
let onSettled = () => {};
let timer;

function send(target, more = {}) {
  const stream = plan.stream(number, target);
  last[stream] += 1;
  const message = { stream, n: last[stream], ...more };
  count += 1;
  if (count % LONG_EVERY === 0 && target < plan.users) message.text = LONG;
  const options = count % STRICT_EVERY === 0 ? { require: 'cluster' } : undefined;
  const row = sent.add(stream, message.n, Date.now(), Infinity, Status.PENDING);
  unsettled += 1;
  const settle = (status) => {
    sent.set(row, 3, Date.now(), status);
    unsettled -= 1;
    if (unsettled === 0) onSettled();
  };
  call(target, message, options).then(
    ({ status }) => settle(Status[status.toUpperCase()]),
    ({ code }) => settle(code === 'ERR_UNCERTAIN' ? Status.UNCERTAIN : Status.REFUSED),
  );
}

function call(target, message, options) {
  if (target < plan.users) return manager.sendToUser(target, message, options);
  if (target < plan.targets - 1) return manager.sendToRoom(target - plan.users, message, options);
  return manager.broadcast(message, options);
}

function tick() {
  due += (rate * TICK_MS) / 1000;
  for (; due >= 1; due -= 1) {
    if (count % WIDE_EVERY === 0) {
      send(plan.users + wide);
      wide = (wide + 1) % (plan.rooms + 1);
    } else {
      send(user);
      user = (user + 1) % plan.users;
    }
  }
}

const settled = () => {
  if (unsettled === 0) return undefined;
  return new Promise((resolve) => {
    onSettled = resolve;
  });
};

serve({
  start() {
    timer = setInterval(tick, TICK_MS);
  },
  /** Sends one more on each stream, behind which nothing comes. */
  async finish() {
    clearInterval(timer);
    await settled();
    for (let target = 0; target < plan.targets; target += 1) send(target, { final: true });
    await settled();
  },
  report: () => ({ sent: sent.rows, stats: manager.stats() }),
});

server.listen(0, '127.0.0.1', 4096);
await once(server, 'listening');
await manager.ready();
tell('listening', { url: `ws://127.0.0.1:${server.address().port}/api/websocket` });
