'use strict';

const { failure } = require('../lib/error');
const { clearTimeout, setTimeout } = require('./real');

/** Longest wait for a reason. It comes with the answer to the client, which this process has got already. */
const WAIT_MS = 1000;

/** Reasons of a manager to refuse clients. The first client that fails gets the first one. */
class Refusals {
  #reasons = [];
  #waiting = [];
  #attempts = 0;

  constructor(manager) {
    manager.on('refused', ({ code, message }) => {
      const error = failure(Error, code, `The server refuses the client: ${message}`);
      const waiter = this.#waiting.shift();
      if (waiter !== undefined) waiter(error);
      else if (this.#attempts > 0) this.#reasons.push(error);
    });
  }

  /** Reasons are kept while somebody tries to connect. */
  async during(attempt) {
    this.#attempts += 1;
    try {
      return await attempt();
    } finally {
      this.#attempts -= 1;
      if (this.#attempts === 0) this.#reasons = [];
    }
  }

  /** The next reason, or `undefined` if there is none. */
  next() {
    if (this.#reasons.length > 0) return Promise.resolve(this.#reasons.shift());
    return new Promise((resolve) => {
      const settle = (reason) => {
        clearTimeout(timer);
        this.#waiting = this.#waiting.filter((each) => each !== settle);
        resolve(reason);
      };
      const timer = setTimeout(settle, WAIT_MS);
      this.#waiting.push(settle);
    });
  }

  /** Nobody waits any longer. */
  close() {
    for (const settle of this.#waiting) settle();
  }
}

module.exports = { Refusals };
