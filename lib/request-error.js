'use strict';

const { argOutOfRange, failure, invalidArg, reasonOf } = require('./error');

/** Marks the class by a name of its own: a bundle may have a copy of it, but the manager is another's. */
const MARK = Symbol.for('@actory/websocket/request-error/1');

/** As the addon takes them. */
const MAX_CODE_CHARACTERS = 64;
const MAX_MESSAGE_CHARACTERS = 1024;

/** Refuses a request in the application's own words. Documented in index.d.ts. */
class RequestError extends Error {
  constructor(code, message = '') {
    if (typeof code !== 'string') throw invalidArg('code', 'a string', code);
    if (code.length < 1 || code.length > MAX_CODE_CHARACTERS) {
      throw argOutOfRange('code', `1 to ${MAX_CODE_CHARACTERS} characters`, code);
    }
    if (typeof message !== 'string') throw invalidArg('message', 'a string', message);
    if (message.length > MAX_MESSAGE_CHARACTERS) {
      throw argOutOfRange('message', `at most ${MAX_MESSAGE_CHARACTERS} characters`, message);
    }
    super(message);
    this.code = code;
  }
}

Object.defineProperty(RequestError.prototype, 'name', {
  value: 'RequestError',
  configurable: true,
  writable: true,
});
Object.defineProperty(RequestError.prototype, MARK, { value: true });

/** Code and message of a `RequestError` of any copy of the package; else `undefined`. */
function wordsOf(thrown) {
  try {
    if (typeof thrown !== 'object' || thrown === null || thrown[MARK] !== true) return undefined;
    // A class of the application's that extends it may have others.
    const { code, message } = thrown;
    return typeof code === 'string' && typeof message === 'string' ? [code, message] : undefined;
  } catch {
    // A proxy, or a getter that throws.
    return undefined;
  }
}

/**
 * Refuses what a handler of the application's has thrown at: in the words of a `RequestError`, else in `others`. Answers with the error
 * for the application's listeners, of this `code`, if it was no `RequestError`.
 */
function refuseThrown(native, ticket, thrown, others, code, name) {
  const words = wordsOf(thrown);
  native.refuse(ticket, ...(words ?? others));
  return words === undefined
    ? failure(Error, code, `${name} failed: ${reasonOf(thrown)}`, thrown)
    : undefined;
}

module.exports = { RequestError, refuseThrown };
