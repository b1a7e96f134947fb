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
/** The last message of each stream may take so long. */
const PATIENCE_MS = 10_000;

/** Clients look so often for a server that was killed. */
const COME_BACK_MS = 50;
/** Clients may not have got the messages that their server had so shortly before it was killed. */
const MARGIN_MS = 1500;

/** Device, stream, number, when it came. */
const received = new Log(4);
/** Stream, number, when it was said, and by which device. */
const said = new Log(4);
/** Device, when it was told that a message went astray. */
const refused = new Log(2);
/** Those who came later, numbered on from those who are there from the beginning. */
const visits = [];
/** Of those who stay: by which number each is there. */
const seats = [...plan.devices.keys()];
/** The number of one who is or was there to stay -> when its server was killed. */
const ends = new Map();
/** Servers that were killed, and are not back yet. */
const crashed = new Set();
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
let returning = 0;
let onReturned = () => {};
let over = false;

async function open(device, { user: userId, room, server }) {
  const name = plan.roomName(plan.users + room);
  const socket = new WebSocket(`${urls[server]}?user=${userId}&room=${name}`, { perMessageDeflate: false });
  socket.on('message', (data) => take(device, JSON.parse(data)));
  await once(socket, 'open');
  socket.on('error', () => {});
  return socket;
}

async function stay(device) {
  sit(device, await open(device, plan.devices[device]));
}

/** From here on that is the connection of one who stays. */
function sit(device, socket) {
  const { server } = plan.devices[device];
  socket.on('close', (code) => {
    if (over) return;
    if (crashed.has(server)) comeBack(device);
    else tell('dropped', { device: seats[device], code });
  });
  sockets[device] = socket;
}

/** Connects again, as one who was not there before. */
async function comeBack(device) {
  for (;;) {
    const about = { ...plan.devices[device], seat: device, opened: Infinity };
    const number = enter(about);
    const socket = await open(number, about).catch(() => sleep(COME_BACK_MS));
    if (socket === undefined) continue;
    about.opened = Date.now();
    seats[device] = number;
    sit(device, socket);
    returning -= 1;
    if (returning === 0) onReturned();
    return;
  }
}

/** Gives a number to one who comes later. */
function enter(about) {
  return plan.devices.length + visits.push(about) - 1;
}

/** Comes, stays a while and goes, again and again: as somebody who is there already, and not always on that server. */
async function visit() {
  while (!over) {
    const userId = random.between(0, plan.users - 1);
    const about = { user: userId, room: plan.roomOf(userId), server: random.between(0, 1) };
    const stayMs = random.between(...VISIT_MS);
    await call(enter(about), about, stayMs);
    await sleep(random.between(...AWAY_MS));
  }
}

async function call(device, about, stayMs) {
  about.opened = Infinity;
  const socket = await open(device, about).catch((error) => {
    if (!crashed.has(about.server)) throw error;
  });
  if (socket === undefined) return;
  about.opened = Date.now();
  const closed = once(socket, 'close');
  await Promise.race([closed, sleep(stayMs)]);
  about.left ??= Date.now();
  await Promise.race([closed, echo(device, socket)]);
  if (socket.readyState !== WebSocket.OPEN && !crashed.has(about.server)) {
    tell('dropped', { device, code: (await closed)[0] });
  }
  socket.close();
  await closed;
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
  if (final === true && seats[seatOf(device)] === device) {
    finals -= 1;
    if (finals === 0) onFinals();
  }
}

/** Whose connection of those who stay this number is, or was. */
function seatOf(device) {
  return device < plan.devices.length ? device : visits[device - plan.devices.length].seat;
}

function say(about, more = {}) {
  const stream = plan.relayed(about);
  const sender = plan.sender(stream);
  // Its server was killed: it has nobody to say it to.
  if (sockets[sender].readyState !== WebSocket.OPEN) return;
  last[stream] += 1;
  said.add(stream, last[stream], Date.now(), seats[sender]);
  sockets[sender].send(JSON.stringify({ stream, n: last[stream], ...more }));
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
  /** A server is about to be killed. */
  crash({ server }) {
    crashed.add(server);
    const left = Date.now() - MARGIN_MS;
    plan.devices.forEach((device, number) => {
      if (device.server !== server || sockets[number].readyState !== WebSocket.OPEN) return;
      ends.set(seats[number], left);
      returning += 1;
    });
    for (const about of visits) {
      if (about.server === server) about.left = Math.min(about.left ?? left, left);
    }
  },
  /** It was replaced: waits until all who stay are there again. */
  async returned({ server }) {
    const all = new Promise((resolve) => {
      onReturned = resolve;
    });
    if (returning > 0) await all;
    crashed.delete(server);
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
    return { received: received.rows, said: said.rows, refused: refused.rows, visits, ends };
  },
});
tell('listening', {});
