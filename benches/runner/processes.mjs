// Starts a server and the generator for one run, on their cores, and ends both whatever happens.
import { spawn } from 'node:child_process';

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
  const flags = ['--mode', work.mode, ...(work.flags ?? []), '--max-seconds', '280'];
  const serving = start(work.cores.server, [...command(tools, work, server), ...serverFlags(server, flags)]);
  try {
    const [port, pid] = await serving.line(/^READY (\d+) (\d+)$/m, START_MS);
    const load = start(work.cores.generator, [
      tools.load,
      ...work.load,
      ...['--port', port, '--pid', pid],
      ...(work.timed ? ['--seconds', String(seconds), '--warmup', String(warmup)] : []),
    ]);
    try {
      const [json] = await load.line(/^\{.*\}$/m, RUN_MS);
      return JSON.parse(json);
    } finally {
      await load.end();
    }
  } catch (error) {
    return { error: error.message };
  } finally {
    await serving.end();
  }
}

/** The floor has no modes but these two, and no heartbeat. */
function serverFlags(server, flags) {
  if (server !== 'floor') return flags;
  return flags.map((flag, i) => (flags[i - 1] === '--mode' && flag !== 'fanout' ? 'echo' : flag));
}

function start(cores, command) {
  // taskset replaces itself with the command, so this process id is the server's own.
  const child = spawn('taskset', ['-c', cores, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
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
