// One run: starts the servers and the generator on their cores, and ends them whatever happens.
import { spawn } from 'node:child_process';
import { atRest } from './cpu.mjs';
import { startRedis } from './redis.mjs';

const START_MS = 20_000;
const RUN_MS = 200_000;
/** Seconds of a server's turn, if the work doesn't say: see `measureInTurns`. */
const WINDOW_S = 0.3;

const children = new Set();

/** Ends what is left, by process id. */
export function endAll() {
  for (const child of children) child.kill('SIGKILL');
}

/** The command of a server; Node takes the work's own flags first. */
function command(tools, work, server) {
  const [program, ...rest] = tools.servers[server];
  return program === process.execPath ? [program, ...(work.node ?? []), ...rest] : [program, ...rest];
}

/** Starts what a work needs: the server, or several, and a Redis. */
export async function startServer(tools, work, server) {
  const started = [];
  const launch = (cores, ...rest) => {
    started.push(start(cores, ...rest));
    return started.at(-1);
  };
  const end = () => Promise.all(started.map((one) => one.end()));
  try {
    const redis = work.redis && (await startRedis((command) => launch(work.cores.generator, command)));
    // A REDIS_URL of the caller's would turn the works without Redis into ones with it.
    const env = { ...process.env, ...tools.env[server], REDIS_URL: redis?.url };
    const own = [...(work.flags ?? []), ...(work.own?.[server] ?? [])];
    const flags = ['--mode', work.mode, ...own, '--max-seconds', '280'];
    const serving = [...command(tools, work, server), ...serverFlags(server, flags)];
    const servers = Array.from({ length: work.processes ?? 1 }, () =>
      launch(work.cores.server, serving, env),
    );
    const ready = await Promise.all(servers.map((one) => one.line(/^READY (\d+) (\d+)$/m, START_MS)));
    const [[port, pid], ...bystanders] = ready;
    const target = [
      ...(work.client?.[server] ?? []),
      ...['--port', port, '--pid', pid],
      ...(redis ? ['--redis', String(redis.pid)] : []),
      ...(bystanders.length > 0 ? ['--bystanders', bystanders.map(([, pid]) => pid).join()] : []),
    ];
    return { target, end, redis, servers: ready.map(([port, pid]) => ({ port, pid })) };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Runs the generator once: its report. */
async function drive(tools, work, { target }, { seconds, warmup }) {
  const times = work.timed ? ['--seconds', String(seconds), '--warmup', String(warmup)] : [];
  const load = start(work.cores.generator, [tools.load, ...work.load, ...target, ...times]);
  try {
    const [json] = await load.line(/^\{.*\}$/m, RUN_MS);
    return JSON.parse(json);
  } finally {
    await load.end();
  }
}

/** One run: the generator's report, or `{ error }`. */
async function measure(tools, work, server, times) {
  let running;
  try {
    running = await startServer(tools, work, server);
    return await drive(tools, work, running, times);
  } catch (error) {
    return { error: error.message };
  } finally {
    await running?.end();
  }
}

/** One run of each server, one after the other: `[server, report or { error }]`. */
export async function measureEach(tools, work, servers, times) {
  const runs = [];
  for (const server of servers) runs.push([server, await measure(tools, work, server, times)]);
  return runs;
}

/**
 * One run of each server, all at once: they take turns, forwards and backwards, so that a machine whose speed
 * drifts from one second to the next is equally fast for all. A server that is not driven sleeps.
 */
export async function measureInTurns(tools, work, servers, { seconds, warmup }) {
  const turnS = work.turnS ?? WINDOW_S;
  const count = Math.max(1, Math.round(seconds / turnS));
  const window = { seconds: seconds / count, warmup: Math.min(warmup, turnS / 3) };
  const contestants = [];
  try {
    for (const server of servers) {
      const contestant = { server, windows: [], error: undefined };
      contestants.push(contestant);
      await attempt(contestant, async () => {
        contestant.running = await startServer(tools, work, server);
        // JavaScript needs this to become fast.
        await drive(tools, work, contestant.running, { seconds: Math.max(0.1, turnS / 3), warmup });
        await rest(contestant.running);
      });
    }
    for (let turn = 0; turn < count; turn++) {
      for (const contestant of turn % 2 ? contestants.toReversed() : contestants) {
        await attempt(contestant, async () => {
          contestant.windows.push(await drive(tools, work, contestant.running, window));
          await rest(contestant.running);
        });
      }
    }
    return contestants.map(({ server, error, windows }) => [server, error ? { error } : together(windows)]);
  } finally {
    await Promise.all(contestants.map(({ running }) => running?.end()));
  }
}

/** Messages of a turn that Redis still has would come to the same users' connections of the next. */
async function rest({ redis, servers }) {
  if (redis) await atRest([redis.pid, ...servers.map(({ pid }) => Number(pid))]);
}

async function attempt(contestant, work) {
  if (contestant.error) return;
  try {
    await work();
  } catch (error) {
    contestant.error = error.message;
  }
}

/** The windows of one run as one report: sums of what was counted, medians of latencies. */
function together(windows) {
  const sum = (of) => windows.reduce((total, window) => total + of(window), 0);
  const [messages, seconds] = [sum((w) => w.messages), sum((w) => w.seconds)];
  const share = (field) => sum((w) => w[field] * w.seconds) / seconds;
  const median = (field) => windows.map((w) => w[field]).sort((a, b) => a - b)[windows.length >> 1];
  return {
    ...windows[0],
    ...{ messages, seconds, windows: windows.length, throughput: messages / seconds },
    ...Object.fromEntries(
      ['cpu_us_per_message', 'redis_us_per_message']
        .filter((field) => windows[0][field] !== undefined)
        .map((field) => [field, sum((w) => w[field] * w.messages) / messages]),
    ),
    ...Object.fromEntries(
      ['server_cpu', 'generator_cpu', 'others_cpu'].map((field) => [field, share(field)]),
    ),
    ...Object.fromEntries(['p50_us', 'p99_us', 'p999_us'].map((field) => [field, median(field)])),
    max_us: Math.max(...windows.map((w) => w.max_us)),
  };
}

/** The floor has no modes but these two, and no heartbeat. */
function serverFlags(server, flags) {
  if (server !== 'floor') return flags;
  return flags.map((flag, i) => (flags[i - 1] === '--mode' && flag !== 'fanout' ? 'echo' : flag));
}

/** Starts a program on these cores. */
export function start(cores, command, env = process.env) {
  // setpriv and taskset replace themselves with the command, so this process id is the command's own. The kernel ends it
  // if this process is killed, which no handler sees. The guide's server ends with its standard input: it has to have one.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'taskset', '-c', cores, ...command], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env,
  });
  children.add(child);
  let [out, err] = ['', ''];
  let changed = () => {};
  let ended = false;
  const closed = new Promise((resolve) => {
    const over = (error) => {
      err += error?.message ?? '';
      ended = true;
      children.delete(child);
      changed();
      resolve();
    };
    child.once('close', () => over());
    child.once('error', over);
  });
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text;
    changed();
  });
  // One that ends before it has read what it is told says so by its end.
  child.stdin.on('error', () => {});
  child.stderr.setEncoding('utf8').on('data', (text) => {
    err = (err + text).slice(-2000);
  });
  return {
    pid: child.pid,
    /** Waits for a line of output: its groups, or the whole if it has none. */
    line: (pattern, limit) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`nothing from ${command[0]} in ${limit / 1000} s`)),
          limit,
        );
        changed = () => {
          const found = pattern.exec(out);
          if (!found && !ended) return;
          clearTimeout(timer);
          if (found) resolve(found.length > 1 ? found.slice(1) : [found[0]]);
          else reject(new Error(err.trim() || `${command[0]} ended without a word`));
        };
        changed();
      }),
    /** Writes a line to its standard input. */
    tell: (line) => child.stdin.write(`${line}\n`),
    /** Ends its standard input. */
    endInput: () => child.stdin.end(),
    end: () => {
      child.kill('SIGKILL');
      return closed;
    },
  };
}
