'use strict';

const { setImmediate } = require('node:timers'); // not the global one, which tests fake
const { warn } = require('./warning');

const nothing = () => {};

/**
 * The rejection of a call that its caller got wrong. As any of ours it is never an unhandled one, but nobody would learn
 * of the mistake then: it becomes a process warning if nobody asks for it.
 */
class Mistake extends Promise {
  #handled = false;

  /** `then` returns an ordinary promise. */
  static get [Symbol.species]() {
    return Promise;
  }

  static of(error) {
    const mistake = new Mistake((_resolve, reject) => reject(error));
    Promise.prototype.then.call(mistake, undefined, nothing);
    setImmediate(() => {
      if (!mistake.#handled) warn(error);
    });
    return mistake;
  }

  // As it is no plain promise, `await` and all else that handles it come by here.
  // biome-ignore lint/suspicious/noThenProperty: a promise has one
  then(onFulfilled, onRejected) {
    this.#handled = true;
    return super.then(onFulfilled, onRejected);
  }
}

/** True if it is about what the caller gave, rather than about how things are. */
const isMistake = (error) => error?.name === 'TypeError' || error?.name === 'RangeError';

/** The result or error of `work`, as a promise that may be left alone: its rejection is never an unhandled one. */
function promised(work) {
  let promise;
  try {
    promise = Promise.resolve(work());
  } catch (error) {
    if (isMistake(error)) return Mistake.of(error);
    promise = Promise.reject(error);
  }
  promise.then(undefined, nothing);
  return promise;
}

module.exports = { promised };
