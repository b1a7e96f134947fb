'use strict';

const { AsyncResource } = require('node:async_hooks');
const { performance } = require('node:perf_hooks');
const { setImmediate } = require('node:timers'); // not the global one, which tests fake
const { runMicrotasks } = require('./node-internals');

/**
 * Events of a batch, at most and at least. The queue in the addon is fair, and a batch is handed out as it is: so it has
 * as many events as listeners take in about a turn, and nobody waits for long behind a batch of slow ones.
 */
const MAX_BATCH = 256;
const MIN_BATCH = 4;
/** Events of the first batch, at most. */
const FIRST_BATCH = 64;
/** Events that are handed out before Node's own loop gets its turn. */
const TURN_EVENTS = 256;
/** Milliseconds after which it gets its turn in any case. */
const TURN_MS = 2;
/** Look at the clock once in so many events: a look costs about 50 ns, and a small event takes little more than ten. */
const CLOCK_EVERY = 4;
/**
 * A batch is an array: first a string of the numbers of all events, then what each of them carries. In the string an
 * event has seven UTF-16 units: one for its kind, three for its id and three for its number, the lowest 16 bits first.
 */
const UNITS = 7;
const NONE = [];
/** Makes a batch of what the addon puts into it. */
const collect = (...values) => values;

/** The number of three units from `at` on. */
function numberAt(units, at) {
  return (
    units.charCodeAt(at) + units.charCodeAt(at + 1) * 0x1_0000 + units.charCodeAt(at + 2) * 0x1_0000_0000
  );
}

/**
 * Brings events from the addon to `dispatch`, in the asynchronous context in which the pump was made. The addon wakes
 * the pump once; the pump drains batches until it finds none, and lets Node go on in between. Messages that listeners
 * send during a batch go out in one go at its end.
 */
class Pump {
  #native = null;
  #dispatch;
  #context = new AsyncResource('ActoryWebSocket');
  #batch = NONE;
  /** Index of the next event's payload in the batch. */
  #next = 1;
  #waiting = false;
  #size = FIRST_BATCH;
  /** The latest turn was late. */
  #wasLate = false;
  #again = () => {
    this.#waiting = false;
    this.#run();
  };

  /** `dispatch(kind, id, number, payload)` must not throw. */
  constructor(dispatch) {
    this.#dispatch = dispatch;
  }

  /** Called by the addon, on this thread, when there is something to drain. */
  wake = () => {
    if (!this.#waiting && this.#native !== null) this.#run();
  };

  start(native) {
    this.#native = native;
  }

  /** Lets go of all that it would call: the addon keeps `wake` for as long as anybody has its object. */
  stop() {
    this.#native = null;
    this.#batch = NONE;
    this.#dispatch = null;
    this.#context = null;
  }

  #run() {
    const deadline = performance.now() + TURN_MS;
    let budget = TURN_EVENTS;
    let more = true;
    try {
      while (more && this.#native !== null) {
        if (this.#next >= this.#batch.length) {
          this.#next = 1;
          // Before `drain`, which may throw: no event shall come twice.
          this.#batch = NONE;
          this.#batch = this.#native.drain(collect, this.#size) ?? NONE;
        }
        if (this.#batch.length === 0) {
          more = false;
        } else {
          budget -= this.#hand(deadline, budget);
          const isLate = performance.now() >= deadline;
          this.#adapt(isLate);
          if (budget <= 0 || isLate) break;
        }
      }
    } finally {
      // Also where a `process.nextTick` callback of the application throws through here, as it may.
      if (more && this.#native !== null && !this.#waiting) {
        this.#waiting = true;
        setImmediate(this.#again);
      }
    }
  }

  /**
   * Chooses the size of the next batch. One late turn says nothing: a garbage collection may have made it late. Two in a
   * row say that listeners are slow.
   */
  #adapt(isLate) {
    if (isLate) {
      if (this.#wasLate) this.#size = Math.max(MIN_BATCH, this.#size >> 1);
    } else if (this.#batch.length > this.#size) {
      this.#size = Math.min(MAX_BATCH, 2 * this.#size);
    }
    this.#wasLate = isLate;
  }

  /** Hands out events of the batch, at most `budget`. Answers how many. */
  #hand(deadline, budget) {
    const native = this.#native;
    const dispatch = this.#dispatch;
    const context = this.#context;
    let count = 0;
    try {
      while (count < budget && this.#next < this.#batch.length) {
        const batch = this.#batch;
        const next = this.#next;
        this.#next = next + 1;
        count += 1;
        const units = batch[0];
        const at = (next - 1) * UNITS;
        // Ticks and microtasks have contexts of their own, and run outside: the error of a tick has to reach Node with its
        // stack of contexts as it is at that moment.
        context.runInAsyncScope(
          dispatch,
          undefined,
          units.charCodeAt(at),
          numberAt(units, at + 1),
          numberAt(units, at + 4),
          batch[next],
        );
        runMicrotasks();
        if (count % CLOCK_EVERY === 0 && performance.now() >= deadline) break;
      }
    } finally {
      native.flush();
    }
    return count;
  }
}

module.exports = { Pump };
