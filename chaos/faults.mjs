// Faults of Redis and of the network before it. Each answers when Redis is back for those who look for it.
import { setTimeout as sleep } from 'node:timers/promises';

/** The limit of a subscriber's output buffer, as Redis comes; and so little that a burst overruns it. */
const ROOMY = 'pubsub 33554432 8388608 60';
const NARROW = 'pubsub 262144 0 0';
/** A message of 16 KiB for nobody, so often, in one go: Redis writes none before it has them all. */
const BURST = `
  local noise = '{"userId":"nobody","data":"' .. string.rep('x', 16384) .. '"}'
  for i = 1, tonumber(ARGV[1]) do redis.call('PUBLISH', 'actory:messages', noise) end`;

/** The servers' names in the table. */
export const SERVERS = ['one', 'two'];

/** The taps of those servers that a fault of the network is for: one of them, or both. */
const someOf = ({ random, taps }) => {
  const which = random.choice([[0], [1], [0, 1]]);
  return {
    which,
    chosen: which.map((index) => taps[index]),
    name: which.map((index) => SERVERS[index]).join('+'),
  };
};
const DIRECTIONS = [['toRedis'], ['toServer'], ['toRedis', 'toServer']];

/**
 * By name. Each is given `{ redis, taps, workers, random, found }` and answers with `detail`, for the table, and with
 * `back`, when Redis was back, if that wasn't just now. `found(servers)` resolves when those servers have found out that
 * their links are dead.
 */
export const FAULTS = {
  async kill({ redis, random }) {
    const ms = random.between(100, 2500);
    await redis.kill();
    await sleep(ms);
    await redis.restart();
    return { detail: `for ${ms} ms` };
  },

  async restart({ redis }) {
    await redis.restart();
    return { detail: 'empty' };
  },

  /** Dies again while the servers come back. */
  async flap({ redis, random }) {
    const times = random.between(2, 5);
    for (let n = 0; n < times; n += 1) {
      await redis.restart();
      await sleep(random.between(10, 250));
    }
    await redis.restart();
    return { detail: `${times + 1} times` };
  },

  /** Starts anew with another password, which is set right after a while. */
  async 'locked out'({ redis, random }) {
    const ms = random.between(200, 1500);
    await redis.restart();
    await redis.command('CONFIG', 'SET', 'requirepass', 'secret');
    await redis.command('-a', 'secret', '--no-auth-warning', 'CLIENT', 'KILL', 'TYPE', 'pubsub');
    await sleep(ms);
    await redis.command('-a', 'secret', '--no-auth-warning', 'CONFIG', 'SET', 'requirepass', '');
    return { detail: `for ${ms} ms` };
  },

  /** Becomes a replica of nobody, and a master again once that is found out. */
  async demotion({ redis, random, found }) {
    const ms = random.between(0, 500);
    // A server may find out before the command is over.
    const over = found([0, 1]);
    await redis.command('REPLICAOF', '127.0.0.1', 1);
    await over;
    await sleep(ms);
    await redis.command('REPLICAOF', 'NO', 'ONE');
    return { detail: `${ms} ms longer than needed` };
  },

  /** Starts anew while the network stands still. */
  async 'restart behind a stall'(run) {
    const { chosen, name } = someOf(run);
    const directions = run.random.choice(DIRECTIONS);
    const ms = run.random.between(0, 1000);
    for (const tap of chosen) tap.hold(directions);
    await run.redis.restart();
    await sleep(ms);
    for (const tap of chosen) tap.release();
    return { detail: `${name} ${directions.join('+')} for ${ms} ms` };
  },

  async 'short pause'({ redis, random }) {
    const ms = random.between(100, 900);
    redis.pause();
    await sleep(ms);
    redis.resume();
    return { detail: `for ${ms} ms` };
  },

  async pause({ redis, random, found }) {
    const ms = random.between(0, 1000);
    redis.pause();
    await found([0, 1]);
    await sleep(ms);
    redis.resume();
    return { detail: `${ms} ms longer than needed` };
  },

  async throttle({ redis, random }) {
    const ms = random.between(200, 2500);
    const mode = random.choice(['ALL', 'WRITE']);
    await redis.command('CLIENT', 'PAUSE', ms, mode);
    await sleep(ms);
    return { detail: `${mode} for ${ms} ms` };
  },

  async 'long throttle'({ redis, random, found }) {
    const ms = random.between(4500, 5500);
    await redis.command('CLIENT', 'PAUSE', ms, 'ALL');
    const over = sleep(ms);
    await found([0, 1]);
    await over;
    return { detail: `ALL for ${ms} ms` };
  },

  async 'kill pubsub'({ redis }) {
    const back = Date.now();
    const killed = await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    return { detail: `${killed} clients`, back };
  },

  async 'kill normal'({ redis }) {
    const back = Date.now();
    const killed = await redis.command('CLIENT', 'KILL', 'TYPE', 'normal');
    return { detail: `${killed} clients`, back };
  },

  async overrun({ redis, random }) {
    const messages = random.between(30, 60);
    await redis.command('CONFIG', 'SET', 'client-output-buffer-limit', NARROW);
    const back = Date.now();
    await redis.command('EVAL', BURST, 0, messages);
    await redis.command('CONFIG', 'SET', 'client-output-buffer-limit', ROOMY);
    return { detail: `by ${messages * 16} KiB`, back };
  },

  async evict({ redis, random }) {
    const messages = random.between(150, 300);
    await redis.command('CONFIG', 'SET', 'maxmemory-clients', '1mb');
    const back = Date.now();
    await redis.command('EVAL', BURST, 0, messages);
    await redis.command('CONFIG', 'SET', 'maxmemory-clients', '0');
    return { detail: `by ${messages * 16} KiB`, back };
  },

  async 'short stall'(run) {
    const { chosen, name } = someOf(run);
    const ms = run.random.between(100, 900);
    const directions = run.random.choice(DIRECTIONS);
    for (const tap of chosen) tap.hold(directions);
    await sleep(ms);
    for (const tap of chosen) tap.release();
    return { detail: `${name} ${directions.join('+')} for ${ms} ms` };
  },

  /** A server stands still, for longer than it would wait for an answer. */
  async 'halted server'({ workers, random }) {
    const which = random.between(0, 1);
    const ms = random.between(3500, 4500);
    workers[which].pause();
    await sleep(ms);
    workers[which].resume();
    return { detail: `${SERVERS[which]} for ${ms} ms` };
  },

  /** Looks alive and delivers nothing, connections yet to come neither. */
  async stall(run) {
    const { which, chosen, name } = someOf(run);
    const directions = run.random.choice(DIRECTIONS);
    const ms = run.random.between(0, 1000);
    for (const tap of chosen) tap.hold(directions);
    await run.found(which);
    await sleep(ms);
    for (const tap of chosen) tap.release();
    return { detail: `${name} ${directions.join('+')}` };
  },

  /** Connections look alive and are dead; new ones work. */
  async dead(run) {
    const { which, chosen, name } = someOf(run);
    for (const tap of chosen) tap.forget();
    await run.found(which);
    return { detail: name };
  },

  async cut(run) {
    const { chosen, name } = someOf(run);
    for (const tap of chosen) tap.cut();
    return { detail: name };
  },
};
