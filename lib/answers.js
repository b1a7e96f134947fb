'use strict';

const { failureOf } = require('./error');

/** A call's outcome as the addon answers it: a negative number is a ticket, turned around, that an event settles. */
const isTicket = (outcome) => typeof outcome === 'number' && outcome < 0;

/** A delivery without a position gets it here, where that costs less than in the addon. */
function complete(answer) {
  if (answer?.status !== undefined) answer.position ??= null;
  return answer;
}

/** Promises of what the addon answers later, by their tickets. */
class Answers {
  #hold;
  #waiting = new Map();

  /** `hold` keeps the event loop alive for promises that are waiting. */
  constructor(hold) {
    this.#hold = hold;
  }

  /** The result of a call: at once, or a promise of it. */
  of(outcome, hold = this.#hold) {
    if (!isTicket(outcome)) return complete(outcome);
    return new Promise((resolve, reject) => {
      hold.take();
      this.#waiting.set(-outcome, { resolve, reject, hold });
    });
  }

  settle(ticket, answer) {
    this.#take(ticket)?.resolve(complete(answer));
  }

  /** `text` is the code and the message. */
  fail(ticket, text) {
    this.#take(ticket)?.reject(failureOf(text));
  }

  /** Nothing comes from the addon any more. */
  close(error) {
    for (const ticket of [...this.#waiting.keys()]) this.#take(ticket).reject(error);
  }

  #take(ticket) {
    const waiting = this.#waiting.get(ticket);
    if (waiting !== undefined) {
      this.#waiting.delete(ticket);
      waiting.hold.release();
    }
    return waiting;
  }
}

module.exports = { Answers };
