'use strict';

const { contextOf, isGone } = require('./connection');
const { failure, reasonOf } = require('./error');
const { isRequestError } = require('./request-error');

/** Has the application decide which rooms clients may join by themselves. */
class JoinRequests {
  #native;
  #decide;
  #onError;

  /** `decide` is the option `authorize.join`; `onError` is called with what it threw. */
  constructor(native, decide, onError) {
    this.#native = native;
    this.#decide = decide;
    this.#onError = onError;
  }

  /** `connection`, number `id`, wants to be in `room`. */
  ask(connection, id, ticket, room) {
    if (connection === undefined || isGone(connection)) {
      this.#native.dropped(ticket);
      return;
    }
    const context = contextOf(connection);
    const run = async () => this.#decide(connection, room);
    const answer = context === undefined ? run() : context.runInAsyncScope(run);
    answer.then(
      (permits) => this.#settle(id, ticket, room, permits === true),
      (thrown) => this.#fail(ticket, thrown),
    );
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
    if (isRequestError(thrown)) {
      this.#native.refuse(ticket, thrown.code, thrown.message);
      return;
    }
    this.#native.refuse(ticket, 'ERR_AUTH_FAILED', 'the server can not find out whether that is permitted');
    const text = `authorize.join failed: ${reasonOf(thrown)}`;
    this.#onError(failure(Error, 'ERR_AUTH_FAILED', text, thrown));
  }
}

module.exports = { JoinRequests };
