import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const START_MS = 10_000;
const END_MS = 8000;

/** One of the programs that the cluster is made of. */
export class Part {
  /** Called with what happened, if the program does not listen, or ends without having been told to. */
  onEnd = () => {};
  #command;
  #args;
  #env;
  #child = null;
  #gone = Promise.resolve();

  /**
   * @param name - what people call it
   * @param at - where it listens, as for `net.connect`
   */
  constructor(name, { command, args, env, at }) {
    this.name = name;
    this.at = at;
    this.#command = command;
    this.#args = args;
    this.#env = env;
  }

  get isRunning() {
    return this.#child !== null;
  }

  get pid() {
    return this.#child?.pid;
  }

  /** Starts it. Resolves when it listens, or has ended. */
  async start() {
    const child = spawn(this.#command, this.#args, {
      env: { ...process.env, ...this.#env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A process group of its own: Ctrl+C is for the cluster, which ends its parts in their order.
      detached: true,
    });
    this.#child = child;
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        output = (output + text).slice(-2000);
      });
    }
    this.#gone = new Promise((resolve) => {
      const end = (how) => {
        if (this.#child === child) {
          this.#child = null;
          this.#fail(`has ended, ${how}`, output);
        }
        resolve();
      };
      child.on('error', (error) => end(error.message));
      // Its children would go on without it, and hold its output open.
      child.on('exit', () => kill(child, 'SIGKILL'));
      child.on('close', (code, signal) => end(signal ?? `exit code ${code}`));
    });
    const deadline = Date.now() + START_MS;
    while (this.#child === child && !(await isListening(this.at))) {
      if (Date.now() > deadline) return this.#fail('does not listen', output);
      await sleep(20);
    }
  }

  /** Ends it, and all that it has started. Resolves when it is gone; where that takes long, it is killed. */
  async stop(signal = 'SIGTERM') {
    const child = this.#child;
    if (child === null) return;
    this.#child = null;
    kill(child, signal);
    const timer = setTimeout(kill, END_MS, child, 'SIGKILL');
    await this.#gone;
    clearTimeout(timer);
  }

  #fail(how, output) {
    this.onEnd(`${this.name} ${how}\n${output}`.trim());
  }
}

/** Signals a process and those that it has started. */
function kill({ pid }, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // There is none any more.
  }
}

/** True if someone takes connections there. */
async function isListening(at) {
  const socket = connect(at);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
