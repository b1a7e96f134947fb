'use strict';

const { clearInterval, setInterval } = require('node:timers'); // not the global ones, which tests fake

/** Longest interval that Node's timers take, about 25 days: the timer is there to be, not to fire. */
const FOR_EVER = 2 ** 31 - 1;

/** Keeps the event loop alive while something is under way that it doesn't know of: the addon's threads don't count. */
class Hold {
  #count = 0;
  #timer;
  #isRef = true;

  take() {
    if (this.#count === 0) {
      this.#timer = setInterval(() => {}, FOR_EVER);
      if (!this.#isRef) this.#timer.unref();
    }
    this.#count += 1;
  }

  /** Holds the event loop, which is the default. */
  ref() {
    this.#isRef = true;
    this.#timer?.ref();
  }

  /** Doesn't, whatever is taken. */
  unref() {
    this.#isRef = false;
    this.#timer?.unref();
  }

  release() {
    this.#count -= 1;
    if (this.#count === 0) clearInterval(this.#timer);
  }
}

module.exports = { Hold };
