'use strict';

const { isAnyArrayBuffer } = require('node:util').types;
const { runFor } = require('./connection');
const { failure, invalidArg } = require('./error');
const { toJson, toPayload } = require('./payload');
const { refuseThrown } = require('./request-error');

/** Code and message for the client, of an error that is not for it. */
const FAILED = ['ERR_REQUEST_FAILED', 'the request failed'];

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
      const message = 'onRequest was called before; its handler has to be taken off first';
      throw failure(Error, 'ERR_HANDLER_TAKEN', message);
    }
    this.#handler = handler;
    this.#onChange(true);
    return () => {
      if (this.#handler !== handler) return;
      this.#handler = undefined;
      this.#onChange(false);
    };
  }

  /** A request of `connection`. Never rejects. */
  async serve(connection, ticket, data, id) {
    const native = this.#native;
    const handler = this.#handler;
    if (handler === undefined) {
      native.refuse(ticket, 'ERR_NO_LISTENER', 'the application answers no requests');
      return;
    }
    try {
      const asked = typeof data === 'string' ? JSON.parse(data) : data;
      native.reply(ticket, toReply(await runFor(connection, () => handler(connection, asked, { id }))));
    } catch (thrown) {
      const error = refuseThrown(native, ticket, thrown, FAILED, 'ERR_LISTENER', 'The handler of onRequest');
      if (error !== undefined) this.#onError(error);
    }
  }
}

module.exports = { Requests };
