// `node benches/memory.mjs`: Redis' memory for the histories of users. See ../docs/tuning.md, "Memory of a history".
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { WebSocketManager } from '../index.mjs';
import { endAll, start } from './runner/processes.mjs';
import { startRedis } from './runner/redis.mjs';
import { connect } from './runner/resp.mjs';

const USAGE = `node benches/memory.mjs [options]
  --sizes N,N      of histories, 10,50,100,1000
  --payloads N,N   bytes of each message, 20,128,200,1000,4000
  --topics N       of each, 40; each has another number of messages beyond its size`;
/** Messages of one topic that are under way at once. */
const AT_ONCE = 500;
/** Redis drops messages in pieces of at most this many: topics stand at different places in theirs. */
const PIECE = 100;

function options() {
  const { values } = parseArgs({
    options: {
      sizes: { type: 'string', default: '10,50,100,1000' },
      payloads: { type: 'string', default: '20,128,200,1000,4000' },
      topics: { type: 'string', default: '40' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const wholes = (name, low, high) =>
    values[name].split(',').map((text) => {
      const value = Number(text);
      if (Number.isInteger(value) && value >= low && value <= high) return value;
      throw new Error(`--${name}: whole numbers from ${low} to ${high}`);
    });
  return {
    sizes: wholes('sizes', 1, 100_000),
    payloads: wholes('payloads', 1, 60_000),
    topics: wholes('topics', 1, 1000)[0],
  };
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** All messages of a topic, in its order. */
async function fill(manager, user, count, text) {
  for (let sent = 0; sent < count; sent += AT_ONCE) {
    const length = Math.min(AT_ONCE, count - sent);
    await Promise.all(Array.from({ length }, () => manager.sendToUser(user, text)));
  }
}

/** Bytes of a topic, by `MEMORY USAGE` of its keys and by the growth of the whole Redis. */
async function measure(url, control, size, payload, topics) {
  const manager = new WebSocketManager(createServer(), {
    auth: 'anonymous',
    threads: 1,
    redis: { url },
    history: { size, ttlMs: 600_000 },
  });
  try {
    await manager.ready();
    // The connections' buffers grow with the first messages.
    await fill(manager, 'nobody', AT_ONCE, 'm'.repeat(payload));
    await control.command('FLUSHALL');
    const used = async () =>
      Number(/used_memory:(\d+)/.exec(String(await control.command('INFO', 'memory')))[1]);
    const before = await used();
    const names = Array.from({ length: topics }, (_, n) => `user${String(n).padStart(6, '0')}`);
    // One byte of it says what kind of message it is.
    for (const [n, user] of names.entries()) {
      await fill(manager, user, 2 * size + Math.floor((n * PIECE) / topics), 'm'.repeat(payload));
    }
    const whole = ((await used()) - before) / topics;
    const usage = async (what) => {
      const bytes = [];
      for (const user of names) {
        const key = `actory:history:${what}:user:${user}`;
        bytes.push(await control.command('MEMORY', 'USAGE', key, 'SAMPLES', '0'));
      }
      return bytes;
    };
    const [logs, metas] = [await usage('log'), await usage('meta')];
    return { log: sum(logs) / topics, most: Math.max(...logs), meta: sum(metas) / topics, whole };
  } finally {
    await manager.close();
  }
}

async function main() {
  const { sizes, payloads, topics } = options();
  const redis = await startRedis((command) => start('0,1', command));
  const control = await connect(Number(new URL(redis.url).port));
  const version = /redis_version:(\S+)/.exec(String(await control.command('INFO', 'server')))[1];
  console.log(`Redis ${version}, means of ${topics} users each; bytes.\n`);
  console.log(
    '| size | payload | log | largest log | meta | a user, of all used memory | beyond the payloads, a message |',
  );
  console.log(`|${' --: |'.repeat(7)}`);
  for (const size of sizes) {
    for (const payload of payloads) {
      const { log, most, meta, whole } = await measure(redis.url, control, size, payload, topics);
      const figures = [size, payload, log, most, meta, whole, (whole - size * payload) / size];
      console.log(`| ${figures.map((figure) => Math.round(figure).toLocaleString('en-GB')).join(' | ')} |`);
    }
  }
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
