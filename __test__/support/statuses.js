'use strict';

/** Keeps what the `broker` events of a manager or a RedisPubSub say. */
class Statuses {
  #waiting = new Set();

  constructor(emitter) {
    emitter.on('broker', (status) => {
      for (const check of this.#waiting) check(status);
    });
  }

  /** The first status from now on that `wanted` accepts. */
  next(wanted) {
    return new Promise((resolve) => {
      const check = (status) => {
        if (!wanted(status)) return;
        this.#waiting.delete(check);
        resolve(status);
      };
      this.#waiting.add(check);
    });
  }

  up() {
    return this.next(({ state }) => state === 'up');
  }

  degraded() {
    return this.next(({ state }) => state === 'degraded');
  }

  down() {
    return this.next(({ state }) => state === 'down');
  }

  /** A link that was lost is back. */
  gap() {
    return this.next(({ gapSince }) => gapSince !== undefined);
  }
}

module.exports = { Statuses };
