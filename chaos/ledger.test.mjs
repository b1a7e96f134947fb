// The judgement of a run with histories, of messages that are made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HistoryRules } from './history-rules.mjs';
import { Kind, Ledger, Status } from './ledger.mjs';
import { Plan } from './plan.mjs';

const plan = new Plan(20);
const USER = 1;
/** The user's devices: one on each server. */
const [HERE, THERE] = [2, 3].map((device) => ({ device, server: plan.devices[device].server }));
const STREAM = plan.stream(HERE.server, USER);
const SMALL = plan.users + (plan.isSmall(plan.users) ? 0 : 1);
const [OLD, NEW] = ['epoch000.term0000', 'epoch000.term0001'];

/** Nothing was done but this, from 1000 to 2000. */
const fault = (name, ...reasons) => ({ name, reasons, start: 1000, back: 2000, over: 2000 });
const CUT = fault('cut');
const DEAD_MASTER = fault('dead master', 'failover', 'emptied');

/** A message that was sent at this time; `came`: when, at the user's other device. */
function sent(n, at, position, came, { kind = Kind.KEPT, status = Status.PUBLISHED, tries = 1 } = {}) {
  const journal = [['sent', STREAM, n, at, kind]];
  journal.push(['settled', STREAM, n, at + 1, status, position, tries]);
  const arrivals = came.map((time) => [THERE.device, STREAM, n, time]);
  return { journal, arrivals: [[HERE.device, STREAM, n, at + 1], ...arrivals] };
}

/** Those of these messages that are anything but delivered, as `outcome number`, and which gaps have no reason. */
function judge(faults, messages, missed = []) {
  const journals = [[], []];
  journals[HERE.server] = messages.flatMap(({ journal }) => journal);
  journals[THERE.server] = missed;
  const rules = new HistoryRules(plan, [[], []], faults, journals);
  const received = messages.flatMap(({ arrivals }) => arrivals).sort((a, b) => a[3] - b[3]);
  const clients = { visits: [], ends: new Map(), said: [], refused: [], received: received.flat() };
  for (const name of ['said', 'refused', 'received']) clients[name] = Float64Array.from(clients[name]);
  const ledger = new Ledger(plan, rules, journals, clients);
  const found = [];
  ledger.forEachMessage((message) => {
    if (message.position !== null) rules.place(message);
    if (rules.isPlaceless(message)) found.push(`placeless ${message.n}`);
  });
  for (const { at, ...gap } of rules.missed) if (rules.isStray({ at, ...gap })) found.push(`stray ${at}`);
  const devices = new Set([HERE.device, THERE.device]);
  ledger.judge((outcome, { device, n }) => {
    if (devices.has(device) && outcome !== 'delivered') found.push(`${outcome} ${n}`);
  });
  return [...found, ...rules.findings];
}

test('messages that arrive in their order are as they should be, however late', () => {
  const messages = [sent(1, 900, `${OLD}.1`, [901]), sent(2, 1100, `${OLD}.2`, [2500])];
  assert.deepEqual(judge([CUT], [...messages, sent(3, 1200, `${OLD}.3`, [2501])]), []);
});

test('a message that nobody tells of is lost, and so is one that a gap does not reach', () => {
  const messages = [sent(1, 900, `${OLD}.1`, [901]), sent(2, 950, `${OLD}.2`, [])];
  assert.deepEqual(judge([CUT], messages), ['lost 2']);
  const gap = ['missed', 1900, USER, 'failover', `${OLD}.2`, `${NEW}.2`];
  assert.deepEqual(judge([DEAD_MASTER], messages, [gap]), ['lost 2']);
});

test('a message in a gap of its topic is missed, if a fault may be the reason', () => {
  const messages = [sent(1, 900, `${OLD}.1`, [901]), sent(2, 950, `${OLD}.2`, [])];
  const gap = (...where) => [['missed', 1900, ...where]];
  const ends = [`${OLD}.1`, `${OLD}.1`];
  assert.deepEqual(judge([DEAD_MASTER], messages, gap(USER, 'failover', ...ends)), ['failover 2']);
  assert.deepEqual(judge([DEAD_MASTER], messages, gap(USER + 1, 'failover', ...ends)), ['lost 2']);
  assert.deepEqual(judge([CUT], messages, gap(USER, 'failover', ...ends)), ['stray 1900', 'hole 2']);
});

test('a gap that skips what arrived later in its order hides a loss', () => {
  const messages = [1, 2, 3].map((n) => sent(n, 940 + n, `${OLD}.${n}`, n === 2 ? [] : [960 + n]));
  const gap = ['missed', 1900, USER, 'failover', `${OLD}.1`, `${OLD}.1`];
  assert.deepEqual(judge([DEAD_MASTER], messages, [gap]), ['hole 2']);
});

test('where Redis had everything no gap excuses', () => {
  const messages = [sent(1, 900, `${OLD}.1`, [901]), sent(2, 950, `${OLD}.2`, [])];
  const gap = ['missed', 1900, USER, 'failover', `${OLD}.1`, `${OLD}.1`];
  assert.deepEqual(judge([fault('restart with data', 'failover')], messages, [gap]), ['hole 2']);
});

test('a message after a later one is out of order, in one order of positions only', () => {
  const first = (position) => sent(1, 900, position, [1500]);
  assert.deepEqual(judge([CUT], [first(`${OLD}.1`), sent(2, 950, `${OLD}.2`, [1400])]), [
    'order 1',
    'order 1',
  ]);
  const other = sent(2, 950, `${NEW}.2`, [1600]);
  assert.deepEqual(judge([CUT], [first(`${OLD}.7`), other]), []);
});

test('a message that comes twice is one too many, unless its key was lost with the data of Redis', () => {
  const keyed = (tries) => sent(1, 1100, `${OLD}.1`, [1101, 1900], { kind: Kind.KEYED, tries });
  assert.deepEqual(judge([CUT], [keyed(2)]), ['order 1', 'twice 1']);
  assert.deepEqual(judge([fault('kill', 'emptied')], [keyed(2)]), ['again 1']);
});

test('a refused message that arrives is a ghost, and two messages have no place in common', () => {
  const refused = sent(1, 900, null, [901], { status: Status.REFUSED });
  assert.deepEqual(judge([CUT], [refused]), ['ghost 1', 'ghost 1']);
  const messages = [sent(1, 900, `${OLD}.1`, [901]), sent(2, 950, `${OLD}.1`, [951])];
  assert.match(judge([CUT], messages).join(), /has the place of another one/);
});

test('a message that should have a place has one', () => {
  assert.deepEqual(judge([CUT], [sent(1, 1100, null, [1101])]), ['placeless 1']);
  assert.deepEqual(judge([fault('old version', 'emptied')], [sent(1, 1100, null, [1101])]), []);
  assert.deepEqual(judge([CUT], [sent(1, 1100, null, [1101], { kind: Kind.FLEETING })]), []);
});

test('only small rooms are trimmed', () => {
  const trimmed = (target) => [['missed', 1900, target, 'trimmed', `${OLD}.1`, `${OLD}.4`]];
  assert.deepEqual(judge([CUT], [sent(1, 900, `${OLD}.1`, [901])], trimmed(USER)), ['stray 1900']);
  assert.deepEqual(judge([CUT], [], trimmed(SMALL)), ['stray 1900'], 'of whose messages none is known');
});
