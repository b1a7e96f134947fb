'use strict';

const { inspect } = require('node:util');
const { failure } = require('../lib/error');
const { clearTimeout, setTimeout } = require('./real');

/** Messages that an error repeats, and the length of each. */
const SHOWN = 10;
const SHOWN_LENGTH = 200;

/** A message in a line. */
function lineOf({ data, taken }) {
  const text = inspect(data, { breakLength: Number.POSITIVE_INFINITY });
  return `\n  ${text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text}${taken ? ' (taken before)' : ''}`;
}

/** Messages in their order, for tests that take one after another. */
class Inbox {
  /** What came: `{ data, event, taken }`. */
  #items = [];
  #waiting = new Set();
  /** Why nothing comes any more. */
  #end;

  /** All that came, taken or not. */
  get messages() {
    return this.#items.map(({ data }) => data);
  }

  push(event) {
    const item = { data: event.data, event, taken: false };
    this.#items.push(item);
    for (const waiter of this.#waiting) {
      if (waiter.offer(item)) return;
    }
  }

  /** Those who wait get this error, and so does who asks for more than is there. */
  end(error) {
    this.#end = error;
    for (const waiter of this.#waiting) waiter.fail(error);
  }

  /** There may be more after all. */
  reopen() {
    this.#end = undefined;
  }

  /** Takes the first message that `suits`. */
  take(suits, timeoutMs) {
    return new Promise((resolve, reject) => this.#wait(suits, timeoutMs, resolve, reject));
  }

  #wait(suits, timeoutMs, resolve, reject) {
    let timer;
    const leave = () => {
      clearTimeout(timer);
      this.#waiting.delete(waiter);
    };
    const waiter = {
      /** True if nobody else may have it. */
      offer(item) {
        try {
          if (suits !== undefined && !suits(item.data, item.event)) return false;
        } catch (error) {
          waiter.fail(error);
          return false;
        }
        leave();
        item.taken = true;
        resolve(item.data);
        return true;
      },
      fail(error) {
        leave();
        reject(error);
      },
    };
    this.#waiting.add(waiter);
    for (const item of this.#items) {
      if (!item.taken && waiter.offer(item)) return;
      if (!this.#waiting.has(waiter)) return;
    }
    if (this.#end !== undefined) return waiter.fail(this.#end);
    timer = setTimeout(() => waiter.fail(this.#late(suits, timeoutMs)), timeoutMs);
  }

  #late(suits, timeoutMs) {
    const what = suits === undefined ? 'No message' : 'No message that the predicate accepts';
    const items = this.#items.slice(-SHOWN);
    const earlier = this.#items.length - items.length;
    const lines = items.map(lineOf).join('');
    const came =
      items.length === 0 ? 'Nothing came' : `Came so far:${earlier > 0 ? `\n  ${earlier} more` : ''}${lines}`;
    return failure(Error, 'ERR_TIMEOUT', `${what} within ${timeoutMs} ms. ${came}`);
  }
}

module.exports = { Inbox };
