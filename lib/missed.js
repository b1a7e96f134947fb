'use strict';

const { clearTimeout, setTimeout } = require('node:timers'); // not the global ones, which tests fake
const { notify } = require('./warning');

/** Code of the warning that messages of histories may not have arrived here. */
const CODE = 'ACTORY_WS_MISSED';
/** Time over which gaps become one warning: a failover concerns every topic. Milliseconds. */
const GATHER_MS = 1000;

/** The argument of listeners of 'missed', of what the addon says. Documented in index.d.ts. */
function toMissed([kind, name, reason, after, position]) {
  return { [kind]: name, reason, after, position };
}

/** Gaps that nobody listens for: they become a process warning, at most one a second. */
class UnheardGaps {
  #users = 0;
  #rooms = 0;
  #reasons = new Map();
  #timer;

  add(missed) {
    if ('userId' in missed) this.#users += 1;
    else this.#rooms += 1;
    this.#reasons.set(missed.reason, (this.#reasons.get(missed.reason) ?? 0) + 1);
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.tell(), GATHER_MS);
    // Of a process that ends there is nobody left who could have missed anything.
    this.#timer.unref();
  }

  /** Tells of those that have come, without waiting for more. */
  tell() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#reasons.size === 0) return;
    const reasons = [...this.#reasons].map(([reason, count]) => `${reason} ${count}`).join(', ');
    const [users, rooms] = [this.#users, this.#rooms];
    this.#users = 0;
    this.#rooms = 0;
    this.#reasons.clear();
    notify(
      CODE,
      `Messages that histories keep may not have arrived here: gaps of users ${users}, of rooms ${rooms} (${reasons}). ` +
        "Listeners of the event 'missed' get each",
    );
  }
}

module.exports = { UnheardGaps, toMissed };
