// Faults of servers with histories: the stored data counts then, and so does who else listens.
import { setTimeout as sleep } from 'node:timers/promises';
import { SERVERS } from './faults.mjs';
import { Newcomer } from './newcomer.mjs';

const LOOK_MS = 20;

/** Waits until Redis says so of its data. */
async function persisted(redis, ...lines) {
  for (;;) {
    const info = await redis.command('INFO', 'persistence');
    if (lines.every((line) => info.includes(line))) return;
    await sleep(LOOK_MS);
  }
}

/** Has servers connect to the other Redis, from here on. */
function lead(taps, redis) {
  for (const tap of taps) {
    tap.aim(redis.port);
    tap.cut();
    tap.release();
  }
}

/** May have a server hear nothing for a while, although it is heard. Answers who, for the table. */
function deafen({ taps, random }) {
  const deaf = random.choice([[], [0], [1]]);
  for (const which of deaf) taps[which].hold(['toServer']);
  return deaf.map((which) => `, ${SERVERS[which]} deaf`).join('');
}

/** Lets the spare Redis replicate, and fall behind for a while. Answers how far, for the table. */
async function fallBehind(run) {
  const { pair, random } = run;
  await pair.follow();
  const ms = random.choice([0, random.between(100, 1500)]);
  if (ms === 0) return 'no ms ahead';
  pair.lag();
  const deaf = deafen(run);
  await sleep(ms);
  return `${ms} ms ahead${deaf}`;
}

/** By name, as those of faults.mjs. They are given `pair` and `stage`, too. */
export const HISTORY_FAULTS = {
  /** Comes back with everything that it has acknowledged. */
  async 'restart with data'({ redis, random }) {
    const ms = random.between(0, 1500);
    // An acknowledged message is written then. The disk's own cache outlives the process.
    await redis.command('CONFIG', 'SET', 'appendfsync', 'no');
    await redis.command('CONFIG', 'SET', 'appendonly', 'yes');
    await persisted(redis, 'aof_rewrite_in_progress:0', 'aof_rewrite_scheduled:0', 'aof_enabled:1');
    await sleep(random.between(0, 500));
    await redis.kill();
    await sleep(ms);
    await redis.restart({ keepsData: true, lines: ['appendonly yes'] });
    const back = Date.now();
    await redis.command('CONFIG', 'SET', 'appendonly', 'no');
    return { detail: `after ${ms} ms`, back };
  },

  /** Comes back with what it had a while ago. */
  async 'restart with older data'(run) {
    const { redis, taps, random } = run;
    const [older, ms] = [random.between(100, 1500), random.between(0, 1500)];
    await redis.command('BGSAVE');
    await persisted(redis, 'rdb_bgsave_in_progress:0');
    const deaf = deafen(run);
    await sleep(older);
    await redis.kill();
    // They never get the messages that they have not got yet.
    for (const tap of taps) tap.cut();
    for (const tap of taps) tap.release();
    await sleep(ms);
    await redis.restart({ keepsData: true });
    return { detail: `of ${older} ms before, after ${ms} ms${deaf}` };
  },

  async flush({ redis, random }) {
    const mode = random.choice(['SYNC', 'ASYNC']);
    const back = Date.now();
    await redis.command('FLUSHALL', mode);
    return { detail: mode, back };
  },

  async 'script flush'({ redis, random }) {
    const times = random.between(1, 8);
    for (let n = 0; n < times; n += 1) {
      await redis.command('SCRIPT', 'FLUSH', random.choice(['SYNC', 'ASYNC']));
      await sleep(random.between(0, 150));
    }
    return { detail: `${times} times` };
  },

  /** Takes no more messages that are to be kept. */
  async full({ redis, random }) {
    const ms = random.between(200, 1500);
    const [option, value] = random.choice([
      ['maxmemory', '1'],
      ['min-replicas-to-write', '1'],
    ]);
    await redis.command('CONFIG', 'SET', option, value);
    await sleep(ms);
    await redis.command('CONFIG', 'SET', option, '0');
    return { detail: `${option} for ${ms} ms` };
  },

  /** The master dies, and its replica takes its place, with what it has. */
  async 'dead master'(run) {
    const { pair, taps, random } = run;
    const lag = await fallBehind(run);
    const ms = random.between(0, 1000);
    await pair.master.kill();
    await sleep(ms);
    await pair.promote();
    lead(taps, pair.master);
    const back = Date.now();
    await pair.spare.restart();
    return { detail: `${lag}, for ${ms} ms`, back };
  },

  /** The master freezes, its replica takes its place, and it wakes up. */
  async 'frozen master'(run) {
    const { pair, taps, random } = run;
    const lag = await fallBehind(run);
    const ms = random.between(0, 1000);
    pair.master.pause();
    await sleep(ms);
    await pair.promote();
    lead(taps, pair.master);
    const back = Date.now();
    await sleep(random.between(0, 1000));
    pair.spare.resume();
    await sleep(random.between(0, 500));
    await pair.spare.restart();
    return { detail: `${lag}, for ${ms} ms`, back };
  },

  /** Its replica takes the place of a living master, which goes on with those who don't know. */
  async 'two masters'(run) {
    const { pair, taps, random } = run;
    const lag = await fallBehind(run);
    const ms = random.between(0, 1500);
    const first = random.between(0, 1);
    await pair.promote();
    lead([taps[first]], pair.master);
    await sleep(ms);
    lead([taps[1 - first]], pair.master);
    const back = Date.now();
    await pair.spare.restart();
    return { detail: `${lag}, ${SERVERS[first]} ${ms} ms before the other`, back };
  },

  /** A server dies, and another one takes its place. Its clients come back. */
  async crash({ stage, random }) {
    const which = random.between(0, 1);
    const ms = random.between(0, 1500);
    await stage.crash(which);
    await sleep(ms);
    await stage.replace(which);
    return { detail: `${SERVERS[which]} for ${ms} ms` };
  },

  /** Links break while what they missed before is being read. */
  async 'cut again'({ taps, random }) {
    const times = random.between(3, 12);
    for (let n = 0; n < times; n += 1) {
      for (const tap of random.choice([[taps[0]], [taps[1]], taps])) tap.cut();
      await sleep(random.between(0, 250));
    }
    return { detail: `${times} times` };
  },

  /** A server of version 0.1 comes for a while, which reads no positions. */
  async 'old version'({ redis, random }) {
    const ms = random.between(200, 2000);
    const newcomer = await Newcomer.come(redis);
    await sleep(ms);
    const { read, unreadable } = await newcomer.leave();
    if (unreadable > 0) throw new Error(`${unreadable} of ${read} messages were none that version 0.1 reads`);
    return { detail: `for ${ms} ms, ${read} messages` };
  },
};

/** A topic that was empty, too, may have had messages before Redis was restarted. */
const RESTARTED = ['emptied', 'failover'];

/** For which reasons messages may be missed after a fault. After others: for none, as long as history's bounds are kept. */
export const REASONS = {
  kill: RESTARTED,
  restart: RESTARTED,
  flap: RESTARTED,
  'locked out': RESTARTED,
  'restart behind a stall': RESTARTED,
  'restart with data': ['failover'],
  'restart with older data': RESTARTED,
  demotion: ['failover'],
  // The replica may lack a topic's first message.
  'dead master': RESTARTED,
  'frozen master': RESTARTED,
  'two masters': RESTARTED,
  flush: ['emptied'],
  // Histories end, for there are messages without a position.
  'old version': ['emptied'],
};

/** Faults after which Redis has everything that it has acknowledged: it is missed by nobody, whatever they are told. */
export const KEEPING = ['demotion', 'restart with data'];
