'use strict';

const { failure } = require('../lib/error');
const { clearTimeout, setTimeout } = require('./real');

/** Longest wait for a reason. It comes with the answer to the client, which this process has got already. */
const WAIT_MS = 1000;

/** Reasons of a manager to refuse clients. */
class Refusals {
  #count = 0;
  #last;
  #waiting = new Set();
  #isClosed = false;

  constructor(manager) {
    manager.on('refused', (refusal) => {
      this.#count += 1;
      this.#last = refusal;
      for (const settle of this.#waiting) settle(refusal);
    });
  }

  /**
   * Begins to look, and answers with a function for the reason as an error, or `undefined` if there is none. Nothing says whose a reason is:
   * of clients that are refused at the same time, one may get another's. Node's own client asks twice from 24 on.
   */
  watch() {
    const before = this.#count;
    return async () => {
      const refusal = this.#count > before ? this.#last : await this.#next();
      if (refusal === undefined) return undefined;
      return failure(Error, refusal.code, `The server refuses the client: ${refusal.message}`);
    };
  }

  #next() {
    if (this.#isClosed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const settle = (reason) => {
        clearTimeout(timer);
        this.#waiting.delete(settle);
        resolve(reason);
      };
      const timer = setTimeout(settle, WAIT_MS);
      this.#waiting.add(settle);
    });
  }

  /** Nobody waits any longer. */
  close() {
    this.#isClosed = true;
    for (const settle of this.#waiting) settle();
  }
}

module.exports = { Refusals };
