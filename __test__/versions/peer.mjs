// A server of some version in a process of its own. It ends with the test, if not before.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import cleanup from '../support/cleanup.js';
import clients from '../support/client.js';

const program = fileURLToPath(new URL('server.cjs', import.meta.url));

const failed = ({ code, message }) => Object.assign(new Error(message), { code });

/** See the module. */
export class Peer {
  #child;
  #exited;
  #last = 0;
  /** Of what it was told to do and has not done: what takes the answer. */
  #asked = new Map();
  /** Its complaints. */
  problems = [];

  /**
   * Starts one from the package in `folder`. Resolves when it is in touch with the other servers.
   *
   * @throws the manager's error, if it refuses the options
   */
  static async start(folder, { port = 0, ...options }) {
    const peer = new Peer();
    await peer.#start({ folder, port, options });
    await peer.do('ready');
    return peer;
  }

  async #start(settings) {
    const { JWT_SECRET: _secret, REDIS_URL: _url, ...env } = process.env;
    const child = fork(program, [JSON.stringify(settings)], { env, serialization: 'advanced' });
    this.#child = child;
    this.#exited = once(child, 'exit');
    cleanup.closeAfterwards(() => {
      child.kill('SIGKILL');
      return this.#exited;
    });
    await new Promise((resolve, reject) => {
      child.on('message', (message) => {
        if (message.type === 'problem') this.problems.push(message.text);
        else if (message.type === 'done') this.#answer(message);
        else if (message.type === 'refused') reject(failed(message));
        else resolve(this.#at(message));
      });
      this.#exited.then(([code, signal]) => {
        const error = new Error(`the server of ${settings.folder} has ended: ${code ?? signal}`);
        reject(error);
        for (const asked of this.#asked.values()) asked.reject(error);
      });
    });
  }

  #at({ port }) {
    this.port = port;
  }

  /** Has it do something: a method of its manager, or one of the program's tasks. */
  do(task, ...args) {
    this.#last += 1;
    this.#child.send({ id: this.#last, task, args });
    return new Promise((resolve, reject) => this.#asked.set(this.#last, { resolve, reject }));
  }

  #answer({ id, value, error }) {
    const { resolve, reject } = this.#asked.get(id);
    this.#asked.delete(id);
    if (error) reject(failed(error));
    else resolve(value);
  }

  /** The address of its manager. */
  get url() {
    return `ws://127.0.0.1:${this.port}/api/websocket`;
  }

  /** A client of it: `user=ada&room=lobby`. */
  connect(query) {
    return clients.connect(`${this.url}?${query}`);
  }

  /** Ends it as a deploy does. */
  async end() {
    await this.do('end');
    this.#child.disconnect();
    await this.#exited;
  }
}
