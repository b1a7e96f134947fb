'use strict';

const { runFor } = require('./connection');
const { refuseThrown } = require('./request-error');

/** Code and message for a client that may not join, and of an error that is not for it. */
const REFUSED = ['ERR_JOIN_REFUSED', 'not permitted'];
const FAILED = ['ERR_AUTH_FAILED', 'the server can not find out whether that is permitted'];

/** Has the application decide which rooms clients may join by themselves. For each room of a connection one thing after the other. */
class JoinRequests {
  #native;
  #decide;
  #onError;
  /** The end of what is under way, by connection and room. */
  #last = new Map();

  /** `decide` is the option `authorize.join`; `onError` is called with what it threw. */
  constructor(native, decide, onError) {
    this.#native = native;
    this.#decide = decide;
    this.#onError = onError;
  }

  /** `connection`, number `id`, wants to be in `room`. */
  join(connection, id, ticket, room) {
    this.#after(id, room, () => this.#join(connection, id, ticket, room));
  }

  /** It wants to be in it no longer. */
  leave(id, ticket, room) {
    this.#after(id, room, async () => {
      this.#native.leave(id, room);
      this.#native.taken(ticket);
    });
  }

  /** `work` never rejects. */
  #after(id, room, work) {
    const key = `${id} ${room}`;
    const last = this.#last.get(key);
    const next = last === undefined ? work() : last.then(work);
    this.#last.set(key, next);
    next.then(() => {
      if (this.#last.get(key) === next) this.#last.delete(key);
    });
  }

  async #join(connection, id, ticket, room) {
    const native = this.#native;
    try {
      if ((await runFor(connection, () => this.#decide(connection, room))) !== true) {
        native.refuse(ticket, ...REFUSED);
        return;
      }
    } catch (thrown) {
      const error = refuseThrown(native, ticket, thrown, FAILED, 'ERR_AUTH_FAILED', 'authorize.join');
      if (error !== undefined) this.#onError(error);
      return;
    }
    try {
      native.join(id, room);
      native.taken(ticket);
    } catch ({ code, message }) {
      native.refuse(ticket, code, message);
    }
  }
}

module.exports = { JoinRequests };
