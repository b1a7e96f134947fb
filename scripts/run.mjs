import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The folder of the package. */
export const root = fileURLToPath(new URL('..', import.meta.url));

const running = new Set();

/** Ends `child` and all that it started. */
function end(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended by itself.
  }
}

let watching = false;

/** Has a signal that ends this process end its children too. Only once there are any: others may import this file. */
function endChildrenOnSignals() {
  if (watching) return;
  watching = true;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    const onSignal = () => {
      process.off(signal, onSignal);
      // Without children, it is for whoever else listens.
      if (running.size === 0 && process.listenerCount(signal) > 0) return;
      for (const child of running) end(child, 'SIGKILL');
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}

/**
 * Runs a command in the package's folder, shows what it prints as it comes, and answers with all of it.
 * It has no input. One that takes longer than `timeoutMs` is ended together with its children.
 *
 * @returns {Promise<{ ok: boolean, output: string, seconds: number, reason: string }>} `reason` says why it is not ok
 */
export function run(command, args, { timeoutMs = 900_000, env, quiet = false } = {}) {
  const start = performance.now();
  const color = process.stdout.isTTY ? { FORCE_COLOR: '1', CARGO_TERM_COLOR: 'always' } : {};
  endChildrenOnSignals();
  return new Promise((resolve) => {
    // A process group of its own, so that a timeout reaches grandchildren such as a browser.
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...color, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    running.add(child);
    let output = '';
    let timedOut = false;
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      from.setEncoding('utf8');
      from.on('data', (text) => {
        output += text;
        if (!quiet) to.write(text);
      });
    }
    const timer = setTimeout(() => {
      timedOut = true;
      end(child, 'SIGKILL');
    }, timeoutMs);
    const finish = (reason) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ ok: reason === '', output, seconds: (performance.now() - start) / 1000, reason });
    };
    child.on('error', (error) => finish(`${command} did not start: ${error.message}`));
    child.on('close', (code, signal) => {
      if (timedOut) finish(`ended after ${timeoutMs / 1000} s without a result`);
      else if (code === 0) finish('');
      else finish(signal === null ? `exit code ${code}` : `ended by ${signal}`);
    });
  });
}
