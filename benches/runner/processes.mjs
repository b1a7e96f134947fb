// One run: starts the servers and the generator on their cores, and ends them whatever happens.
import { spawn } from 'node:child_process';
import { startRedis } from './redis.mjs';

const START_MS = 20_000;
const RUN_MS = 200_000;

const children = new Set();

/** Ends what is left, by process id. */
export function endAll() {
  for (const child of children) child.kill('SIGKILL');
}

/** How a server is started; Node takes the work's own flags first. */
function command(tools, work, server) {
  const [program, ...rest] = tools.servers[server];
  return program === process.execPath ? [program, ...(work.node ?? []), ...rest] : [program, ...rest];
}

/** One run: the generator's report, or `{ error }`. */
export async function measure(tools, work, server, { seconds, warmup }) {
  const started = [];
  const launch = (cores, ...rest) => {
    started.push(start(cores, ...rest));
    return started.at(-1);
  };
  try {
    const redis = work.redis && (await startRedis((command) => launch(work.cores.generator, command)));
    // A REDIS_URL of the caller's would turn the works without Redis into ones with it.
    const env = { ...process.env, ...tools.env[server], REDIS_URL: redis?.url };
    const flags = ['--mode', work.mode, ...(work.flags ?? []), '--max-seconds', '280'];
    const serving = [...command(tools, work, server), ...serverFlags(server, flags)];
    const servers = Array.from({ length: work.processes ?? 1 }, () =>
      launch(work.cores.server, serving, env),
    );
    const ready = await Promise.all(servers.map((one) => one.line(/^READY (\d+) (\d+)$/m, START_MS)));
    const [[port, pid], ...bystanders] = ready;
    const load = launch(work.cores.generator, [
      tools.load,
      ...work.load,
      ...(work.client?.[server] ?? []),
      ...['--port', port, '--pid', pid],
      ...(redis ? ['--redis', String(redis.pid)] : []),
      ...(bystanders.length > 0 ? ['--bystanders', bystanders.map(([, pid]) => pid).join()] : []),
      ...(work.timed ? ['--seconds', String(seconds), '--warmup', String(warmup)] : []),
    ]);
    const [json] = await load.line(/^\{.*\}$/m, RUN_MS);
    return JSON.parse(json);
  } catch (error) {
    return { error: error.message };
  } finally {
    await Promise.all(started.map((one) => one.end()));
  }
}

/** The floor has no modes but these two, and no heartbeat. */
function serverFlags(server, flags) {
  if (server !== 'floor') return flags;
  return flags.map((flag, i) => (flags[i - 1] === '--mode' && flag !== 'fanout' ? 'echo' : flag));
}

function start(cores, command, env = process.env) {
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
    end: () => {
      child.kill('SIGKILL');
      return closed;
    },
  };
}
