import { failure } from './error.mjs';

// A token is renewed in the last quarter of its time, not all clients' at once.
const AT = 0.75;
const SPREAD = 0.15;
// One that is always the same, or lives for a moment, is replaced with the next connection.
const LEAST_MS = 100;
const MOST_MS = 2 ** 31;

// Gives the server a fresh token for the connection before the old one expires.
export class Renewal {
  #inside;
  #timer;

  constructor(inside) {
    this.#inside = inside;
  }

  // The connection's token is good for so many milliseconds; not a number: for ever.
  begin(ms) {
    this.end();
    const pause = ms * (AT + Math.random() * SPREAD);
    if (typeof this.#inside.options.token !== 'function' || !(pause > LEAST_MS && pause < MOST_MS)) return;
    this.#timer = setTimeout(() => this.#renew(), pause);
  }

  // The connection has ended.
  end() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  // If it fails, that leaves it at the end of the old token: the server closes then, and the next connection has another one.
  async #renew() {
    const timer = this.#timer;
    try {
      const token = await this.#inside.options.token();
      if (timer !== this.#timer) return;
      const { expiresAt, now } = await this.#inside.ask({ type: 'renew', token }).promise;
      if (timer === this.#timer) this.begin(expiresAt - now);
    } catch (cause) {
      if (timer !== this.#timer) return;
      this.#inside.listeners.emit('error', failure('ERR_TOKEN', 'The token could not be renewed', { cause }));
    }
  }
}
