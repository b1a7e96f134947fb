'use strict';

const { contextOf, isGone } = require('./connection');
const { failure, reasonOf } = require('./error');
const { refusalOf } = require('./request-error');

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
    if (connection === undefined || isGone(connection)) {
      this.#native.dropped(ticket);
      return;
    }
    const context = contextOf(connection);
    const decide = async () => this.#decide(connection, room);
    this.#after(id, room, async () => {
      try {
        const permits = await (context === undefined ? decide() : context.runInAsyncScope(decide));
        this.#settle(id, ticket, room, permits === true);
      } catch (thrown) {
        this.#fail(ticket, thrown);
      }
    });
  }

  /** It wants to be in it no longer. */
  leave(id, ticket, room) {
    const native = this.#native;
    this.#after(id, room, () => {
      native.leave(id, room);
      native.taken(ticket);
    });
  }

  #after(id, room, work) {
    const key = `${id} ${room}`;
    const last = this.#last.get(key);
    const next = last === undefined ? Promise.resolve(work()) : last.then(work);
    this.#last.set(key, next);
    const end = () => {
      if (this.#last.get(key) === next) this.#last.delete(key);
    };
    next.then(end, end);
  }

  #settle(id, ticket, room, permits) {
    const native = this.#native;
    if (!permits) {
      native.refuse(ticket, 'ERR_JOIN_REFUSED', 'not permitted');
      return;
    }
    try {
      native.join(id, room);
    } catch ({ code, message }) {
      native.refuse(ticket, code, message);
      return;
    }
    native.taken(ticket);
  }

  #fail(ticket, thrown) {
    const refusal = refusalOf(thrown);
    if (refusal !== undefined) {
      this.#native.refuse(ticket, ...refusal);
      return;
    }
    this.#native.refuse(ticket, 'ERR_AUTH_FAILED', 'the server can not find out whether that is permitted');
    const text = `authorize.join failed: ${reasonOf(thrown)}`;
    this.#onError(failure(Error, 'ERR_AUTH_FAILED', text, thrown));
  }
}

module.exports = { JoinRequests };
