'use strict';

const { types } = require('node:util');
const { SENDABLE, isSendable } = require('./catalogue');
const { failure, invalidArg, argOutOfRange } = require('./error');
const { toPayload } = require('./payload');
const { MAX_ID_BYTES, MAX_PING_BYTES, MAX_REASON_BYTES } = require('./constants');

/** Bytes of UTF-8 that the name of a channel may have. */
const MAX_CHANNEL_BYTES = 65_536;
/** Longest wait that anything takes: a day. */
const MAX_WAIT_MS = 86_400_000;

/**
 * A user id or a room's name: a non-empty string of at most 256 bytes of UTF-8, or an integer, which becomes decimal.
 * Lone surrogates are refused: as UTF-8 they would all be the same character, and so two ids could be one.
 */
function toId(value, name) {
  if (typeof value === 'string') {
    if (value.length === 0) throw argOutOfRange(name, 'a non-empty string', value);
    // No UTF-16 unit takes more than three bytes, so most ids need no counting.
    if (value.length * 3 > MAX_ID_BYTES && Buffer.byteLength(value) > MAX_ID_BYTES) {
      throw argOutOfRange(name, `at most ${MAX_ID_BYTES} bytes of UTF-8`, value);
    }
    if (!value.isWellFormed()) throw argOutOfRange(name, 'well-formed Unicode', value);
    return value;
  }
  if (typeof value !== 'number') throw invalidArg(name, 'a string or an integer', value);
  if (!Number.isSafeInteger(value)) throw argOutOfRange(name, 'a safe integer', value);
  return String(value);
}

/** A close code, or `fallback` for `undefined`. */
function toCloseCode(value, fallback, name = 'code') {
  if (value === undefined) return fallback;
  if (typeof value !== 'number') throw invalidArg(name, 'a number', value);
  if (!Number.isInteger(value) || !isSendable(value)) {
    throw argOutOfRange(name, `a close code that may be sent (${SENDABLE})`, value);
  }
  return value;
}

/** Payload of a ping: a string or bytes of at most 125 bytes, nothing for `undefined`. */
function toPing(value) {
  if (value === undefined) return '';
  if (typeof value !== 'string' && !ArrayBuffer.isView(value) && !types.isAnyArrayBuffer(value)) {
    throw invalidArg('data', 'a string or bytes', value);
  }
  // Its length can be asked for, which that of a view on a buffer which has shrunk can't.
  const payload = toPayload(value);
  if (Buffer.byteLength(payload) > MAX_PING_BYTES) {
    throw argOutOfRange('data', `at most ${MAX_PING_BYTES} bytes`, value);
  }
  return payload;
}

/** The reason of a close, or an empty one for `undefined`. */
function toReason(value, name = 'reason') {
  if (value === undefined) return '';
  if (typeof value !== 'string') throw invalidArg(name, 'a string', value);
  if (value.length * 3 > MAX_REASON_BYTES && Buffer.byteLength(value) > MAX_REASON_BYTES) {
    throw argOutOfRange(name, `at most ${MAX_REASON_BYTES} bytes of UTF-8`, value);
  }
  return value;
}

/** True for an object whose entries, if it has any, are its properties. */
const isRecord = (value) =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  // Maps, Sets, Headers: as in the options that are read in Rust (src/binding/options/value.rs).
  !('forEach' in value && 'has' in value);

/** An options argument: an object with none but the `known` keys. `undefined` is an empty one. */
function toOptions(value, known, name = 'options') {
  if (value === undefined) return {};
  if (!isRecord(value)) throw invalidArg(name, 'an object', value);
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) {
      throw failure(
        TypeError,
        'ERR_UNKNOWN_OPTION',
        `Unknown option "${key}"; known are ${known.map((k) => `"${k}"`).join(', ')}`,
      );
    }
  }
  return value;
}

/** The options of a delivery: whether every server has to be reached. */
function isStrict(value) {
  if (value === undefined) return false;
  const { require: required } = toOptions(value, ['require']);
  if (required !== undefined && required !== 'cluster')
    throw invalidArg('options.require', '"cluster"', required);
  return required === 'cluster';
}

/** The name of a channel: a non-empty string of at most 64 KiB of UTF-8. */
function toChannel(value) {
  if (typeof value !== 'string') throw invalidArg('channel', 'a string', value);
  if (value.length === 0) throw argOutOfRange('channel', 'a non-empty string', value);
  if (value.length * 3 > MAX_CHANNEL_BYTES && Buffer.byteLength(value) > MAX_CHANNEL_BYTES) {
    throw argOutOfRange('channel', `at most ${MAX_CHANNEL_BYTES} bytes of UTF-8`, value);
  }
  if (!value.isWellFormed()) throw argOutOfRange('channel', 'well-formed Unicode', value);
  return value;
}

/** Milliseconds, or `fallback` for `undefined`. */
function toWait(value, fallback, name) {
  if (value === undefined) return fallback;
  if (typeof value !== 'number') throw invalidArg(name, 'a number of milliseconds', value);
  if (!Number.isInteger(value) || value < 0 || value > MAX_WAIT_MS) {
    throw argOutOfRange(name, `an integer from 0 to ${MAX_WAIT_MS} ms`, value);
  }
  return value;
}

/** The options of `close()`, complete. */
function toCloseOptions(value) {
  if (typeof value === 'number') throw invalidArg('options', 'an object, such as { drainMs: 5000 }', value);
  const { drainMs: given, code, reason } = toOptions(value, ['drainMs', 'code', 'reason']);
  const drainMs = toWait(given, 0, 'options.drainMs');
  return {
    drainMs,
    // A drain is a server that comes back (1012), anything else one that goes (1001).
    code: toCloseCode(code, drainMs > 0 ? 1012 : 1001, 'options.code'),
    reason: toReason(reason, 'options.reason'),
  };
}

module.exports = {
  isRecord,
  toId,
  toCloseCode,
  toReason,
  toPing,
  isStrict,
  toChannel,
  toOptions,
  toWait,
  toCloseOptions,
};
