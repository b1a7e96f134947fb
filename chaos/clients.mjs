// All clients of the run. Each keeps what it gets; one of each user says something now and then. Beside those that stay
// there are visitors, who come and go.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { Log } from './log.mjs';
import { Plan } from './plan.mjs';
import { Random } from './random.mjs';
import { serve, settings, tell } from './worker.mjs';

const { urls, connections, rate, seed } = settings();
const plan = new Plan(connections);
const random = new Random(seed);

const TICK_MS = 20;
/** Handshakes at a time. */
const AT_ONCE = 50;
/** Visitors at a time, how long they stay, and how long they are away. */
const VISITORS = 20;
const VISIT_MS = [50, 2500];
const AWAY_MS = [0, 500];
/** How long the last message of each stream may take. */
const PATIENCE_MS = 10_000;

/** Device, stream, number, when it came. */
const received = new Log(4);
/** Stream, number, when it was said. */
const said = new Log(3);
/** Device, when it was told that a message went astray. */
const refused = new Log(2);
/** Those who came and went, numbered on from those who stay. */
const visits = [];
/** Visitor -> what to call when it hears itself. */
const echoes = new Map();
const last = new Uint32Array(plan.streams);
const sockets = [];
let due = 0;
let user = 0;
let timer;
let visitors;
let finals = 0;
let onFinals = () => {};
let over = false;

async function open(device, { user: userId, room, server }) {
  const socket = new WebSocket(`${urls[server]}?user=${userId}&room=${room}`, { perMessageDeflate: false });
  socket.on('message', (data) => take(device, JSON.parse(data)));
  await once(socket, 'open');
  socket.on('error', () => {});
  return socket;
}

async function stay(device) {
  const socket = await open(device, plan.devices[device]);
  socket.on('close', (code) => {
    if (!over) tell('dropped', { device, code });
  });
  sockets[device] = socket;
}

/** Comes, stays a while and goes, again and again: as somebody who is there already, and not always on that server. */
async function visit() {
  while (!over) {
    const userId = random.between(0, plan.users - 1);
    const about = { user: userId, room: plan.roomOf(userId), server: random.between(0, 1) };
    const stayMs = random.between(...VISIT_MS);
    const device = plan.devices.length + visits.push(about) - 1;
    const socket = await open(device, about);
    about.opened = Date.now();
    const closed = once(socket, 'close');
    await Promise.race([closed, sleep(stayMs)]);
    about.left = Date.now();
    await Promise.race([closed, echo(device, socket)]);
    if (socket.readyState !== WebSocket.OPEN) tell('dropped', { device, code: (await closed)[0] });
    socket.close();
    await closed;
    await sleep(random.between(...AWAY_MS));
  }
}

/** Says something, and waits until it is back: what was published before has come then. */
function echo(device, socket) {
  const back = new Promise((resolve) => echoes.set(device, resolve));
  socket.send(JSON.stringify({ from: device }));
  return Promise.race([back, sleep(PATIENCE_MS)]);
}

function take(device, { stream, n, final, from, error }) {
  if (error !== undefined) {
    refused.add(device, Date.now());
    echoes.get(device)?.();
    return;
  }
  if (from !== undefined) {
    if (from === device) echoes.get(device)();
    return;
  }
  received.add(device, stream, n, Date.now());
  if (final === true && device < plan.devices.length) {
    finals -= 1;
    if (finals === 0) onFinals();
  }
}

function say(about, more = {}) {
  const stream = plan.relayed(about);
  last[stream] += 1;
  said.add(stream, last[stream], Date.now());
  sockets[plan.sender(stream)].send(JSON.stringify({ stream, n: last[stream], ...more }));
}

function tick() {
  due += (rate * TICK_MS) / 1000;
  for (; due >= 1; due -= 1) {
    say(user);
    user = (user + 1) % plan.users;
  }
}

serve({
  async open() {
    const devices = [...plan.devices.keys()];
    while (devices.length > 0) await Promise.all(devices.splice(0, AT_ONCE).map(stay));
  },
  start() {
    timer = setInterval(tick, TICK_MS);
    visitors = Array.from({ length: VISITORS }, visit);
  },
  /** Says one more on each stream, and waits for the last one of every stream, the servers' too. */
  async finish() {
    clearInterval(timer);
    for (let about = 0; about < plan.users; about += 1) say(about, { final: true });
    for (const device of plan.devices) finals += plan.streamsOf(device).length;
    const complete = new Promise((resolve) => {
      onFinals = () => resolve(true);
      setTimeout(resolve, PATIENCE_MS, false);
    });
    return { complete: finals === 0 || (await complete) };
  },
  async report() {
    over = true;
    await Promise.all(visitors);
    return { received: received.rows, said: said.rows, refused: refused.rows, visits };
  },
});
tell('listening', {});
