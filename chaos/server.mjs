// A server of the run: the package as an application uses it, which sends numbered messages to users, rooms and everyone.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocketManager } from '../index.mjs';
import { SMALL_SIZE } from './history-rules.mjs';
import { Journal } from './journal.mjs';
import { Kind, Status } from './ledger.mjs';
import { Plan } from './plan.mjs';
import { serve, settings, tell } from './worker.mjs';

const { number, life, port, path, redis, connections, rate, history } = settings();
const plan = new Plan(connections);

/** Sends are spread evenly over ticks of so long. */
const TICK_MS = 20;
/** Rooms and everyone are many: one in so many messages is for one of them. */
const WIDE_EVERY = history ? 10 : 25;
/** One in so many messages is for all servers or for none. */
const STRICT_EVERY = 7;
/** One in so many is long, so that a link that stands still has written half a message. */
const LONG_EVERY = history ? 401 : 41;
const LONG = 'x'.repeat(96 << 10);
/** One in so many is worth nothing later, and one is sent until it is known that it was published. */
const FLEETING_EVERY = 13;
const KEYED_EVERY = 5;
const AGAIN_MS = 100;
/** Answers after which a message is sent again with its key. */
const OPEN_CODES = ['ERR_UNCERTAIN', 'ERR_BROKER_UNAVAILABLE', 'ERR_BROKER_FULL', 'ERR_BROKER_OVERLOADED'];
/** The option `history`. Ordinary faults last less long than it takes for so much to come, but for the small rooms. */
const LARGE = { size: 5000, ttlMs: 600_000 };
const SMALL = { size: SMALL_SIZE, ttlMs: 600_000 };

const server = createServer();
const manager = new WebSocketManager(server, {
  auth: {
    authenticate({ url }) {
      const query = new URL(url, 'http://localhost').searchParams;
      return { userId: query.get('user'), rooms: [query.get('room')] };
    },
  },
  redis,
  history: history && { users: LARGE, rooms: { 'small:*': SMALL, '**': LARGE } },
});
const journal = new Journal(path);
manager.on('broker', ({ state, error, gapSince, gapUntil }) => {
  tell('broker', { at: Date.now(), state, code: error?.code, gapSince, gapUntil });
});
manager.on('missed', ({ userId, room, reason, after, position }) => {
  const target = room === undefined ? Number(userId) : plan.roomTarget(room);
  journal.write(['missed', Date.now(), target, reason, after, position]);
});
manager.on('error', (error) => {
  // As long as somebody is there who reads no positions.
  if (error.code === 'ERR_NO_HISTORY') return;
  tell('trouble', { text: String(error) });
});

/** Messages of each stream; those of each life of the server have numbers of their own. */
const last = new Float64Array(plan.streams).fill(life * 1e6);
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
  const kind = kindOf(target);
  journal.write(['sent', stream, message.n, Date.now(), kind]);
  unsettled += 1;
  const settle = (status, position = null, tries = 1) => {
    journal.write(['settled', stream, message.n, Date.now(), status, position, tries]);
    unsettled -= 1;
    if (unsettled === 0) onSettled();
  };
  if (kind === Kind.KEYED) {
    persist(target, message, settle);
    return;
  }
  const options = {
    ...(count % STRICT_EVERY === 0 && { require: 'cluster' }),
    ...(kind === Kind.FLEETING && { history: false }),
  };
  call(target, message, options).then(
    ({ status, position }) => settle(Status[status.toUpperCase()], position),
    ({ code }) => settle(code === 'ERR_UNCERTAIN' ? Status.UNCERTAIN : Status.REFUSED),
  );
}

function kindOf(target) {
  if (!history || target === plan.targets - 1) return Kind.PLAIN;
  if (count % FLEETING_EVERY === 0) return Kind.FLEETING;
  return count % KEYED_EVERY === 0 ? Kind.KEYED : Kind.KEPT;
}

/** Sends a message until it is known that it was published. */
async function persist(target, message, settle) {
  const idempotencyKey = `${message.stream} ${message.n}`;
  // The first time it may be served by this server alone.
  const first = count % STRICT_EVERY === 0 ? {} : { require: 'cluster' };
  for (let tries = 1; ; tries += 1) {
    try {
      const options = { ...(tries === 1 ? first : { require: 'cluster' }), idempotencyKey };
      const { status, position } = await call(target, message, options);
      if (status !== 'uncertain') return settle(Status[status.toUpperCase()], position, tries);
    } catch (error) {
      if (!OPEN_CODES.includes(error.code)) return settle(Status.REFUSED, null, tries);
    }
    await sleep(AGAIN_MS);
  }
}

function call(target, message, options) {
  if (target < plan.users) return manager.sendToUser(target, message, options);
  if (plan.isRoom(target)) return manager.sendToRoom(plan.roomName(target), message, options);
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
  report: () => ({ stats: manager.stats() }),
});

server.listen(port, '127.0.0.1', 4096);
await once(server, 'listening');
await manager.ready();
tell('listening', {
  url: `ws://127.0.0.1:${server.address().port}/api/websocket`,
  port: server.address().port,
});
