// The promise of servers without histories.
import { Status } from './ledger.mjs';

/**
 * Fates that a message may have with one of its recipients. It arrived, or somebody said that it might not: its promise
 * (`local`, `uncertain`, `refused`), the error frame of a relayed one (`uncertain`), or the recipient's server (`gap`).
 */
const REPORTED = ['local', 'uncertain', 'refused', 'gap'];
/** Fates that must not be: nobody said a word; it came twice; it came after a later one; it came although it was refused. */
const BROKEN = ['lost', 'twice', 'order', 'ghost'];

/** Clocks of two processes differ by less. */
const SLACK_MS = 50;

/** See the module. */
export class Rules {
  reported = REPORTED;
  broken = BROKEN;
  /** Redis is back: so long may it take until messages flow again. */
  backMs = 1000;
  #gaps;

  /** `gaps` are the lost times that each server told. */
  constructor(gaps) {
    this.#gaps = gaps;
  }

  /** When a device can't be sure any more to get what is published. */
  leftOf({ left }) {
    return left;
  }

  /** Messages of one lane arrive in the order of their numbers. None: this one may be late. */
  laneOf({ status }) {
    // An uncertain one may still be under way when the next ones have arrived.
    return status === Status.UNCERTAIN ? undefined : 'all';
  }

  /** The name of a second arrival. */
  again() {
    return 'twice';
  }

  /** The reason for which a message of a server did not arrive at a device of another one, or the same. */
  excuse(message, from, device) {
    if (message.status === Status.REFUSED) return 'refused';
    if (message.status === Status.UNCERTAIN) return 'uncertain';
    // Connections of the same server were served.
    if (message.status === Status.LOCAL) return from === device.server ? 'lost' : 'local';
    return this.isInGap(message, device.server) ? 'gap' : 'lost';
  }

  /** More about a message that came wrongly to a server, in words. */
  remark() {
    return '';
  }

  /** True if a message lies in a time that a server told of. */
  isInGap({ at, settled }, server) {
    return this.#gaps[server].some(({ since, until }) => at <= until && settled >= since);
  }

  /** True if a server told of a time in which somebody came. */
  cameInGap({ at }, { server, opened }) {
    return this.#gaps[server].some(
      ({ since, until }) => opened >= since - SLACK_MS && opened <= until && at <= until,
    );
  }
}
