'use strict';

const { isAnyArrayBuffer } = require('node:util').types;
const { contextOf } = require('./connection');
const { failure, invalidArg, reasonOf } = require('./error');
const { toJson, toPayload } = require('./payload');
const { refusalOf } = require('./request-error');

/** A reply is a value: a string is one, too. */
const toReply = (value) =>
  ArrayBuffer.isView(value) || isAnyArrayBuffer(value) ? toPayload(value) : toJson(value ?? null, 'reply');

/** Has the application's handler answer the requests of clients. */
class Requests {
  #native;
  #onError;
  #onChange;
  #handler;

  /** `onChange` is called with whether there is a handler, `onError` with what one threw. */
  constructor(native, onChange, onError) {
    this.#native = native;
    this.#onChange = onChange;
    this.#onError = onError;
  }

  /** Answers with a function that takes the handler off. */
  handle(handler) {
    if (typeof handler !== 'function') throw invalidArg('handler', 'a function', handler);
    if (this.#handler !== undefined) {
      throw failure(
        Error,
        'ERR_HANDLER_TAKEN',
        'onRequest was called before; its handler has to be taken off first',
      );
    }
    this.#handler = handler;
    this.#onChange(true);
    return () => {
      if (this.#handler !== handler) return;
      this.#handler = undefined;
      this.#onChange(false);
    };
  }

  /** A request of `connection`. */
  serve(connection, ticket, payload, isBinary, id) {
    const native = this.#native;
    if (this.#handler === undefined) {
      native.refuse(ticket, 'ERR_NO_LISTENER', 'the application answers no requests');
      return;
    }
    const context = contextOf(connection);
    const run = () => this.#answer(connection, payload, isBinary, id);
    const answer = context === undefined ? run() : context.runInAsyncScope(run);
    answer
      .then((reply) => native.reply(ticket, toReply(reply)))
      .catch((thrown) => this.#fail(ticket, thrown));
  }

  async #answer(connection, payload, isBinary, id) {
    return this.#handler(connection, isBinary ? payload : JSON.parse(payload), { id });
  }

  #fail(ticket, thrown) {
    const refusal = refusalOf(thrown);
    if (refusal !== undefined) {
      this.#native.refuse(ticket, ...refusal);
      return;
    }
    this.#native.refuse(ticket, 'ERR_REQUEST_FAILED', 'the request failed');
    const text = `The handler of onRequest failed: ${reasonOf(thrown)}`;
    this.#onError(failure(Error, 'ERR_LISTENER', text, thrown));
  }
}

module.exports = { Requests };
