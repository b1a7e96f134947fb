// `node benches/redis.mjs`: Redis' CPU time for a publish with a history and for one without. See README.md, "A history's price".
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { captureCommands, userName } from './runner/commands.mjs';
import { cpuNanos } from './runner/cpu.mjs';
import { endAll, start } from './runner/processes.mjs';
import { startRedis } from './runner/redis.mjs';
import { connect, encode } from './runner/resp.mjs';

const USAGE = `node benches/redis.mjs [options]
  --batches N,N    commands in a batch, 1,8,64; each batch waits for its answers
  --repeats N      of each figure, 11
  --messages N     of a kind in a repeat, 16384
  --together       also all publishes of a batch in one EVALSHA, which this package doesn't do
  --script FILE    also the script of a file in the place of this package's`;
/** Each of them has a subscriber. */
const USERS = 200;
/** Kinds alternate after so many messages, forwards and backwards. */
const TURN = 1024;
const HISTORY = { size: 50, ttlMs: 600_000 };

function options() {
  const { values } = parseArgs({
    options: {
      batches: { type: 'string', default: '1,8,64' },
      repeats: { type: 'string', default: '11' },
      messages: { type: 'string', default: '16384' },
      together: { type: 'boolean', default: false },
      script: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const whole = (name, text) => {
    const value = Number(text);
    if (!(Number.isInteger(value) && value >= 1 && value <= 1e7)) {
      throw new Error(`--${name}: whole numbers from 1 on`);
    }
    return value;
  };
  return {
    batches: values.batches.split(',').map((batch) => whole('batches', batch)),
    repeats: whole('repeats', values.repeats),
    messages: whole('messages', values.messages),
    together: values.together,
    scripts: values.script,
  };
}

/** Jiffies of 10 ms that all processors have worked. */
function busyJiffies() {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'latin1')
    .split('\n')[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return user + nice + system + irq + softirq;
}

/** All publishes of a batch in one script: the same code, called once for each, with the arguments that all have in common. */
function togetherOf({ script, words }) {
  const keys = Number(words[2]);
  const first = 3 + keys;
  const code = `local function one(KEYS,ARGV) ${script} end
local keys,common,out=KEYS,${words.length - first - 1},{}
local n=#keys/${keys}
for i=0,n-1 do
  local args={ARGV[i+1],unpack(ARGV,n+1,n+common)}
  out[i+1]=one({unpack(keys,i*${keys}+1,i*${keys}+${keys})},args)
end
return out`;
  const encodeAll = (hash, users) => {
    const of = (user, at) => words[at].replaceAll(userName(0), user);
    const names = users.flatMap((user) => Array.from({ length: keys }, (_, k) => of(user, 3 + k)));
    const payloads = users.map((user) => of(user, first));
    return encode('EVALSHA', hash, String(names.length), ...names, ...payloads, ...words.slice(first + 1));
  };
  return { code, encodeAll };
}

/** The subjects of a measurement: a name, and the encoded batch for some users, with the number of its answers. */
async function kindsOf(commands, control, { together, scripts }) {
  const each = (of) => (users) => [Buffer.concat(users.map(of)), users.length];
  const kinds = [
    { name: 'publish', batch: each(commands.publish) },
    { name: 'history', batch: each(commands.append) },
  ];
  const load = async (code) => String(await control.command('SCRIPT', 'LOAD', code));
  for (const file of scripts) {
    const hash = await load(readFileSync(file, 'utf8'));
    const swap = (user) =>
      Buffer.from(commands.append(user).toString('latin1').replace(commands.words[1], hash), 'latin1');
    kinds.push({ name: file, batch: each(swap) });
  }
  if (together) {
    const { code, encodeAll } = togetherOf(commands);
    const hash = await load(code);
    kinds.push({ name: 'together', batch: (users) => [encodeAll(hash, users), 1] });
  }
  return kinds;
}

async function turn(pid, connection, kind, size) {
  const batches = Array.from({ length: Math.ceil(TURN / size) }, () =>
    kind.batch(Array.from({ length: size }, () => userName(Math.floor(Math.random() * USERS)))),
  );
  const before = cpuNanos(pid);
  for (const [bytes, answers] of batches) await connection.send(bytes, answers);
  return (cpuNanos(pid) - before) / (batches.length * size);
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** CPU microseconds of each kind: `{ name: [one of each repeat] }`. */
async function measure(pid, connection, kinds, size, { repeats, messages }) {
  const costs = Object.fromEntries(kinds.map(({ name }) => [name, []]));
  const turns = Math.ceil(messages / TURN);
  // The first is the warm-up: logs fill to their size.
  for (let repeat = 0; repeat <= repeats; repeat++) {
    const sums = Object.fromEntries(kinds.map(({ name }) => [name, 0]));
    for (let t = 0; t < turns; t++) {
      for (const kind of t % 2 ? kinds.toReversed() : kinds) {
        sums[kind.name] += await turn(pid, connection, kind, size);
      }
    }
    if (repeat === 0) continue;
    for (const [name, nanos] of Object.entries(sums)) costs[name].push(nanos / turns / 1000);
  }
  return costs;
}

async function main() {
  const chosen = options();
  const redis = await startRedis((command) => start('0', command));
  const port = Number(new URL(redis.url).port);
  const commands = await captureCommands(port, HISTORY);
  const [control, subscriber] = [await connect(port), await connect(port)];
  const version = /redis_version:(\S+)/.exec(String(await control.command('INFO', 'server')))[1];
  await subscriber.listen([
    ...commands.channels,
    ...Array.from({ length: USERS }, (_, n) => commands.channelOf(userName(n))),
  ]);
  const kinds = await kindsOf(commands, control, chosen);
  console.log(`Redis ${version}, medians of ${chosen.repeats} times ${chosen.messages} messages.\n`);
  console.log(
    '| batch | kind | Redis us | lowest to highest | : publish | messages a second of a whole core |',
  );
  console.log('| --: | --- | --: | --: | --: | --: |');
  const [started, busy, own] = [
    performance.now(),
    busyJiffies(),
    cpuNanos(process.pid) + cpuNanos(redis.pid),
  ];
  for (const size of chosen.batches) {
    const costs = await measure(redis.pid, control, kinds, size, chosen);
    for (const { name } of kinds) {
      const ratio = median(costs[name].map((cost, i) => cost / costs.publish[i]));
      const cost = median(costs[name]);
      const [low, high] = [Math.min(...costs[name]), Math.max(...costs[name])];
      console.log(
        `| ${size} | ${name} | ${cost.toFixed(2)} | ${low.toFixed(2)} to ${high.toFixed(2)} | ${ratio.toFixed(2)} | ` +
          `${Math.round(1e6 / cost).toLocaleString('en-GB')} |`,
      );
    }
  }
  const used = (cpuNanos(process.pid) + cpuNanos(redis.pid) - own) / 1e6;
  const others = ((busyJiffies() - busy) * 10 - used) / (performance.now() - started);
  console.log(`\nOther processes took ${Math.max(0, others).toFixed(2)} of a core.`);
}

process.on('exit', endAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130));
main().then(
  () => process.exit(0),
  (error) => {
    console.error(error.message);
    process.exit(2);
  },
);
