import { Chart } from './chart.mjs';
import { arrive, reach, showBroker, showServers } from './cluster.mjs';
import { Trips } from './latency.mjs';
import { Link } from './link.mjs';
import { onThisServer } from './session.mjs';
import { $, clearLog, digits, pulse, showMessage, showNote, showPeople, showRooms, toast } from './view.mjs';

const PING_MS = 250;
const PROBE_MS = 250;

/** The user of this tab, once signed in: { name, userId, token }. */
let me = null;
/** This tab's connection, as the server names it. */
let connectionId = null;
let room = null;
/** The room to go to after signing in, or to come back to after reconnecting. */
let wanted = new URLSearchParams(location.search).get('room');
let rooms = [];
let people = [];
/** Ids of the messages in the log: those of the history may also have come by themselves. */
let shown = new Set();
/** Messages of someone whom the list of people does not have yet: from another server they may come before it. */
let early = [];
let counter = 0;

const messages = new Trips();
const answers = new Trips();
const chart = new Chart($('chart'), [
  { trips: answers, color: '--http' },
  { trips: messages, color: '--message' },
]);

// Signing in

async function post(path, body) {
  const headers = { 'content-type': 'application/json' };
  if (me) headers.authorization = `Bearer ${me.token}`;
  const response = await fetch(onThisServer(path), { method: 'POST', headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

const link = new Link(async () => {
  me = await post('/login', { name: me.name });
  return me.token;
});

function enter(name) {
  me = { name };
  sessionStorage.setItem('name', name);
  $('door').hidden = true;
  for (const id of ['app', 'leave', 'another']) $(id).hidden = false;
  $('text').focus();
  link.open();
}

$('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    const { name } = await post('/login', { name: $('name').value });
    $('refused').textContent = '';
    enter(name);
  } catch (error) {
    $('refused').textContent = error.message;
  }
});

$('leave').addEventListener('click', () => {
  sessionStorage.removeItem('name');
  me = null;
  link.close();
  $('door').hidden = false;
  for (const id of ['app', 'leave', 'another', 'again']) $(id).hidden = true;
  $('name').focus();
});

$('again').addEventListener('click', () => link.open());

// The connection

link.addEventListener('state', ({ detail: { state, code, pauseMs } }) => {
  const words = {
    connecting: 'Connecting…',
    open: 'Connected',
    waiting: `Lost (${code}), back in ${digits((pauseMs ?? 0) / 1000)} s`,
    closed: me ? `Closed (${code})` : 'Signed out',
  };
  $('state').dataset.state = me ? state : 'out';
  $('state').textContent = words[state];
  $('again').hidden = state !== 'closed' || me === null;
  if (state !== 'open') {
    connectionId = null;
    messages.forget();
  }
});

/** The server's messages, by type. */
const fromServer = {
  welcome({ id, server, broker }) {
    connectionId = id;
    if (server) arrive(server, broker);
    wanted ??= room;
    if (wanted) join(wanted);
    wanted = null;
  },

  room({ room: joined, history }) {
    room = joined;
    people = [];
    $('room').textContent = `#${room}`;
    $('text').placeholder = `Write to #${room}`;
    document.title = `#${room} · @actory/websocket`;
    clearLog();
    shown = new Set();
    early = [];
    for (const message of history) show(message);
    drawRooms();
  },

  rooms(message) {
    rooms = message.rooms;
    drawRooms();
    if (message.servers) showServers(message.servers);
  },

  broker: showBroker,

  missed({ messages }) {
    for (const message of messages) show(message);
  },

  people(message) {
    if (message.room !== room) return;
    const names = (list) => new Map(list.map((person) => [person.userId, person.name]));
    const [before, after] = [names(people), names(message.people)];
    // Nobody came or went when this tab itself has only just come.
    if (before.size > 0) {
      for (const [userId, name] of after) if (!before.has(userId)) showNote(`${name} came`);
      for (const [userId, name] of before) if (!after.has(userId)) showNote(`${name} left`);
    }
    people = message.people;
    showPeople(people, me?.userId, wave);
    early = early.filter((each) => !hear(each));
  },

  wave({ name }) {
    toast(`${name} waves at you`);
  },

  announcement({ name, text }) {
    toast(`Announcement by ${name}: ${text}`);
  },

  blocked({ ms, name }) {
    blockBegins(ms, name);
  },

  unblocked({ ms }) {
    blockEnds(ms);
  },
};

link.addEventListener('server', ({ detail }) => fromServer[detail.type]?.(detail));

/** Messages of the room's other clients, and this one's own, on the same way round. */
link.addEventListener('peer', ({ detail: message }) => {
  if (message.type === 'ping') {
    if (message.from === connectionId) messages.end(message.n);
    else if (block) block.fromOthers += 1;
    const person = personOf(message.from);
    if (person) pulse(person.userId);
  } else if (message.type === 'chat') {
    if (typeof message.text === 'string' && !hear(message)) early = [...early, message].slice(-20);
  } else if (message.error?.code === 'ERR_UNCERTAIN') {
    toast('The link to Redis broke. What was just written may be lost.');
  } else if (message.error && message.error.code !== 'ERR_BROKER_UNAVAILABLE') {
    // That Redis is away the page shows anyway, and the pings would say it all the time.
    toast(`The server refused a message: ${message.error.code}`);
  }
});

/** Shows what someone in the room says; answers whether they are known. */
function hear(message) {
  const person = personOf(message.from);
  // Under the name that the server knows the connection by, not one that the message claims.
  if (person) show({ ...message, userId: person.userId, name: person.name });
  return person !== undefined;
}

const personOf = (connection) => people.find(({ connections }) => connections.includes(connection));

// The chat

function show(message) {
  if (shown.has(message.id)) return;
  shown.add(message.id);
  showMessage(message, message.userId === me?.userId);
}

function drawRooms() {
  showRooms(rooms, room, join);
}

/** Rooms are the server's to give: its 'message' listener sees this and calls `connection.join`. */
function join(name) {
  if (name.trim().toLowerCase() !== room || wanted) link.send({ type: 'join', room: name });
}

$('newroom').addEventListener('submit', (event) => {
  event.preventDefault();
  if ($('roomname').value.trim() !== '') join($('roomname').value);
  $('roomname').value = '';
});

$('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('text').value.trim();
  if (text === '') return;
  counter += 1;
  const message = {
    type: 'chat',
    id: `${connectionId}-${counter}`,
    from: connectionId,
    text,
    at: Date.now(),
  };
  if (connectionId && link.send(message)) $('text').value = '';
  else toast('Not connected. Your message is still in the box.');
});

async function wave(userId, name) {
  try {
    toast(`You waved at ${name}, ${reach(await post('/api/wave', { userId }))}`);
  } catch (error) {
    toast(error.message);
  }
}

$('announce').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = $('announcement').value.trim();
  if (text === '') return;
  $('announcement').value = '';
  try {
    toast(`Announced, ${reach(await post('/api/announce', { text }))}`);
  } catch (error) {
    toast(error.message);
  }
});

// Live figures

/** Each to its room and so back to itself. The more there are, the less often, for each goes to all. */
function ping() {
  if (connectionId && room) {
    counter += 1;
    messages.begin(counter);
    if (!link.send({ type: 'ping', from: connectionId, n: counter })) messages.forget();
  }
  setTimeout(ping, Math.max(PING_MS, people.length * 10));
}

let before = null;

/** Asks Node something, all the time, and shows how long it takes to answer. */
async function probe() {
  if (me) {
    counter += 1;
    const key = counter;
    answers.begin(key);
    try {
      const response = await fetch(onThisServer('/api/stats'));
      const stats = await response.json();
      answers.end(key);
      showStats(stats);
    } catch {
      // The link says that the server is away.
      answers.forget();
    }
  }
  setTimeout(probe, PROBE_MS);
}

function showStats({ connections, users, messages: { received, sent } }) {
  const reading = { at: performance.now(), received, sent };
  $('s-connections').textContent = connections.toLocaleString('en');
  $('s-users').textContent = users.toLocaleString('en');
  if (before === null) before = reading;
  const seconds = (reading.at - before.at) / 1000;
  if (seconds < 1) return;
  const rate = (key) => Math.max(0, Math.round((reading[key] - before[key]) / seconds)).toLocaleString('en');
  $('s-in').textContent = rate('received');
  $('s-out').textContent = rate('sent');
  before = reading;
}

setInterval(() => {
  if (document.hidden || $('app').hidden) return;
  $('rtt').textContent = digits(messages.current);
  $('http').textContent = digits(answers.current);
  chart.draw();
  if (block) {
    const left = Math.max(0, block.to - performance.now()) / 1000;
    $('verdict').textContent =
      `${block.name} has blocked Node’s thread: ${left.toFixed(1)} s left. Go on, write something.`;
  }
}, 100);

// The experiment

/** The block that is going on: { from, to, name, fromOthers }. */
let block = null;

$('block').addEventListener('click', async () => {
  $('block').disabled = true;
  try {
    await post('/api/block');
  } catch (error) {
    toast(error.message);
  }
  $('block').disabled = false;
});

function blockBegins(ms, name) {
  const from = performance.now();
  block = { from, to: from + ms, name, fromOthers: 0 };
  chart.blocks.push(block);
  document.documentElement.dataset.blocked = '';
}

function blockEnds(ms) {
  if (!block) return;
  const { from, fromOthers } = block;
  const trips = messages.since(from).map((sample) => sample.ms);
  block.to = performance.now();
  block = null;
  delete document.documentElement.dataset.blocked;
  const own =
    trips.length === 0
      ? 'none of this tab’s messages came back'
      : `${trips.length} of this tab’s messages came back, the slowest in ${digits(Math.max(...trips))} ms`;
  $('verdict').textContent =
    `While Node was blocked for ${ms.toLocaleString('en')} ms, ${own}, and ${fromOthers} came from other tabs.`;
}

// Start

$('theme').addEventListener('click', () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === 'dark';
  const system = matchMedia('(prefers-color-scheme: dark)').matches;
  const next = dark || (!document.documentElement.dataset.theme && system) ? 'light' : 'dark';
  document.documentElement.dataset.theme = next;
  localStorage.setItem('theme', next);
});

const theme = localStorage.getItem('theme');
if (theme) document.documentElement.dataset.theme = theme;
const name = new URLSearchParams(location.search).get('name') ?? sessionStorage.getItem('name');
if (name?.trim()) enter(name);
ping();
probe();
