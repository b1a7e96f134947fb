// A process of the run: this side of it. Ends when the run does, however that ends.
import { fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Emits what the process says, by `type`, and `exit`. */
export class Worker extends EventEmitter {
  #child;

  constructor(file, settings) {
    super();
    const { JWT_SECRET: _secret, REDIS_URL: _url, ...env } = process.env;
    this.#child = fork(fileURLToPath(new URL(file, import.meta.url)), [JSON.stringify(settings)], {
      env,
      serialization: 'advanced',
    });
    this.#child.on('message', (message) => this.emit(message.type, message));
    this.#child.on('exit', (code, signal) => this.emit('exit', signal ?? code));
  }

  /** Tells it to do something, and resolves with what it says when that is done. */
  async ask(type, more = {}) {
    const done = once(this, `${type}:done`);
    this.#child.send({ type, ...more });
    const [answer] = await done;
    return answer;
  }

  /** Halts it, as a machine without a free core does. */
  pause() {
    this.#child.kill('SIGSTOP');
  }

  /** Ends {@link Worker.pause}. */
  resume() {
    this.#child.kill('SIGCONT');
  }

  /** Ends it at once. */
  async close() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.removeAllListeners('exit');
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

/** For the process itself: what it was told to be, and how it talks. `tasks` are what it can be asked, by type. */
export function serve(tasks) {
  process.on('message', async ({ type, ...more }) => {
    const answer = await tasks[type](more);
    process.send({ type: `${type}:done`, ...answer });
  });
  process.on('disconnect', () => process.exit());
}

export const settings = () => JSON.parse(process.argv[2]);
export const tell = (type, more) => process.send({ type, ...more });
