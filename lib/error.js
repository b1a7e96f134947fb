'use strict';

const { types } = require('node:util');

/** Longest piece of a value that an error message repeats. */
const SHOWN = 40;

/**
 * An error with a stable `code`.
 *
 * @param {ErrorConstructor} Type - `Error`, `TypeError` or `RangeError`
 * @param {string} code - one of `ErrorCode`
 * @param {string} message
 * @param {unknown} [cause] - kept as `cause` if given
 */
function failure(Type, code, message, cause) {
  const error = cause === undefined ? new Type(message) : new Type(message, { cause });
  error.code = code;
  return error;
}

/** A value in a few words. Calls nothing of the value's own, so that it can't throw. */
function describe(value) {
  if (value === null) return 'null';
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value);
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'bigint':
      return 'a bigint';
    case 'symbol':
      return 'a symbol';
    case 'function':
      return 'a function';
    default:
      if (types.isMap(value)) return 'a Map';
      if (types.isSet(value)) return 'a Set';
      return isArray(value) ? 'an array' : 'an object';
  }
}

/** `Array.isArray`, which throws for a revoked proxy. */
function isArray(value) {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** An argument of the wrong type: `TypeError`, `ERR_INVALID_ARG`. */
function invalidArg(name, expected, got) {
  return failure(TypeError, 'ERR_INVALID_ARG', `"${name}" must be ${expected}; got ${describe(got)}`);
}

/** An argument that is out of its range: `RangeError`, `ERR_ARG_OUT_OF_RANGE`. */
function argOutOfRange(name, expected, got) {
  return failure(RangeError, 'ERR_ARG_OUT_OF_RANGE', `"${name}" must be ${expected}; got ${describe(got)}`);
}

/** The error of calls after `close()`. */
function closedError(what = 'WebSocketManager') {
  return failure(Error, 'ERR_CLOSED', `The ${what} is closed`);
}

/** The error of the addon's event: its code, a space, its message. */
function failureOf(text) {
  const end = text.indexOf(' ');
  return failure(Error, text.slice(0, end), text.slice(end + 1));
}

/** Also of another realm. */
const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

/** A thrown value, as text for a message. This never throws. */
function reasonOf(thrown) {
  try {
    return String(isObject(thrown) && 'message' in thrown ? thrown.message : thrown);
  } catch {
    return describe(thrown);
  }
}

module.exports = {
  failure,
  describe,
  invalidArg,
  argOutOfRange,
  closedError,
  failureOf,
  isObject,
  reasonOf,
};
