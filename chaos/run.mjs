// npm run test:chaos: two servers, one Redis, many clients, steady traffic, and one fault after the other. See README.md.
import { setTimeout as sleep } from 'node:timers/promises';
import { REASONS } from './history-faults.mjs';
import { HistoryRules } from './history-rules.mjs';
import { Ledger } from './ledger.mjs';
import { Plan } from './plan.mjs';
import { Report } from './report.mjs';
import { Rules } from './rules.mjs';
import {
  faults as all,
  connections,
  deck,
  full,
  history,
  random,
  rate,
  redisOptions,
  seed,
  short,
} from './settings.mjs';
import { Stage } from './stage.mjs';

/** Without a fault: before the first one, and after each. */
const CALM_MS = [1800, 2200];
/** A server may take so long to find out that a link is dead, before the run goes on without. */
const FOUND_MS = 7000;
const LIMIT_MS = 60_000 + deck.length * 15_000;

const plan = new Plan(connections);
const stage = new Stage();
const { failures } = stage;

/** When a server has found out that all its links are dead, in Unix milliseconds. */
function foundBy({ worker }) {
  const found = new Promise((resolve) => {
    // A link is back before the last one is found dead if the network works again.
    let left = redisOptions.connections;
    worker.on('broker', function look({ at, state, gapSince }) {
      if (gapSince !== undefined) left -= 1;
      if (state !== 'down' && left > 0) return;
      worker.off('broker', look);
      resolve(at);
    });
  });
  return Promise.race([found, sleep(FOUND_MS, Infinity, { ref: false })]);
}

/** Does one fault. Answers with what the report wants to know of it. */
async function strike(name) {
  const { pair, servers } = stage;
  const workers = servers.map(({ worker }) => worker);
  const start = Date.now();
  const times = [];
  const found = (which) =>
    Promise.all(which.map(async (index) => times.push((await foundBy(servers[index])) - start)));
  const taps = servers.map(({ tap }) => tap);
  const about = { redis: pair.master, pair, stage, taps, workers, random, found };
  const { detail, back = Date.now() } = await all[name](about);
  return { name, detail, reasons: REASONS[name] ?? [], start, back, over: Date.now(), found: times };
}

/** Checks a server's own figures at the end. */
function check(number, { connections: open, closed, broker }) {
  const expected = plan.devices.filter(({ server }) => server === number).length;
  if (open !== expected) {
    failures.push(`server ${number} has ${open} connections, not ${expected}: ${JSON.stringify(closed)}`);
  }
  if (broker.pending !== 0) failures.push(`server ${number} waits for ${broker.pending} answers`);
}

/** Events that concern places in histories, and gaps in them. */
function judgeHistories(rules, ledger, report) {
  ledger.forEachMessage((message) => {
    const { stream, n, at, position } = message;
    if (position !== null) rules.place(message);
    if (rules.isPlaceless(message)) report.blame('placeless', at, `message ${n} of stream ${stream}`);
  });
  for (const missed of rules.missed) {
    if (rules.isStray(missed)) report.blame('stray', missed.at, `a gap ${JSON.stringify(missed)}`);
  }
  failures.push(...rules.findings);
}

async function run() {
  await stage.open();
  const { clients, servers, stalls } = stage;
  const begin = Date.now();
  await Promise.all(stage.workers.map((worker) => worker.ask('start')));

  const calm = () => sleep(random.between(...CALM_MS));
  await calm();
  const faults = [
    { name: 'none', detail: '', reasons: [], start: begin, back: begin, over: begin, found: [] },
  ];
  for (const name of deck) {
    const fault = await strike(name);
    console.log(`${String(faults.push(fault) - 1).padStart(3)}  ${name} ${fault.detail}`);
    await calm();
  }

  const end = Date.now();
  const ends = await Promise.all(stage.workers.map((worker) => worker.ask('finish')));
  if (ends.some(({ complete }) => complete === false)) failures.push('the last messages did not all arrive');
  // First of all those who are only visiting have to leave.
  const received = await clients.ask('report');
  const reports = await Promise.all(servers.map(({ worker }) => worker.ask('report')));
  reports.forEach(({ stats }, number) => {
    check(number, stats);
  });

  const gaps = servers.map((server) => server.gaps);
  const { journals } = stage;
  const rules = history ? new HistoryRules(plan, gaps, faults, journals) : new Rules(gaps);
  const report = new Report(rules, faults, end, gaps, stalls);
  const ledger = new Ledger(plan, rules, journals, received);
  if (history) judgeHistories(rules, ledger, report);
  ledger.judge((...seen) => report.take(...seen));
  report.finish();
  report.print();
  failures.push(...report.violations);
}

console.log(
  `seed ${seed}: ${deck.length} faults, ${connections} connections, ${3 * rate} messages a second, ` +
    `redis ${JSON.stringify(redisOptions)}`,
);
const limit = setTimeout(() => {
  for (const failure of failures) console.error(`! ${failure}`);
  console.error(`! not done after ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS);
process.once('SIGINT', () => stage.close().then(() => process.exit(130)));
const began = performance.now();
try {
  await run();
} catch (error) {
  failures.push(error.stack);
} finally {
  await stage.close();
  clearTimeout(limit);
}

/** Of what broke, so many are shown, or all with `--all`. */
const SHOWN = full ? Infinity : 20;
for (const failure of failures.slice(0, SHOWN)) console.log(`! ${failure}`);
if (failures.length > SHOWN) console.log(`! and ${failures.length - SHOWN} more`);
const seconds = ((performance.now() - began) / 1000).toFixed(0);
console.log(
  failures.length === 0
    ? `held in ${seconds} s: nothing lost in silence, twice or out of order, nobody disconnected`
    : `BROKEN in ${seconds} s, ${failures.length} times; again: node chaos/run.mjs --seed ${seed}${history ? ' --history' : ''}${short ? ' --short' : ''}`,
);
process.exitCode = failures.length === 0 ? 0 : 1;
