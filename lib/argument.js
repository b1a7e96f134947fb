'use strict';

const { types } = require('node:util');
const { SENDABLE, isSendable } = require('./catalogue');
const { failure, invalidArg, argOutOfRange } = require('./error');
const { toPayload } = require('./payload');
const { MAX_ID_BYTES, MAX_KEY_BYTES, MAX_PAGE, MAX_PING_BYTES, MAX_REASON_BYTES } = require('./constants');

/** Bytes of UTF-8 that the name of a channel may have. */
const MAX_CHANNEL_BYTES = 65_536;
/** Longest wait that anything takes: a day. */
const MAX_WAIT_MS = 86_400_000;

/** Messages of a page where nobody says how many. */
const PAGE = 100;

/**
 * A string that names something: not empty, and at most so many bytes of UTF-8. Lone surrogates are refused: as UTF-8 they
 * would all be the same character, and so two names could be one.
 */
function checkName(value, name, maxBytes) {
  if (value.length === 0) throw argOutOfRange(name, 'a non-empty string', value);
  // No UTF-16 unit takes more than three bytes, so most need no counting.
  if (value.length * 3 > maxBytes && Buffer.byteLength(value) > maxBytes) {
    throw argOutOfRange(name, `at most ${maxBytes} bytes of UTF-8`, value);
  }
  if (!value.isWellFormed()) throw argOutOfRange(name, 'well-formed Unicode', value);
  return value;
}

/** A user id or a room's name: a non-empty string of at most 256 bytes of UTF-8, or an integer, which becomes decimal. */
function toId(value, name) {
  if (typeof value === 'string') return checkName(value, name, MAX_ID_BYTES);
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

/** The options of a delivery to everyone, or of a disconnection: whether every server has to be reached. */
function isStrict(value) {
  return value !== undefined && isCluster(toOptions(value, ['require']).require);
}

function isCluster(value) {
  if (value !== undefined && value !== 'cluster') throw invalidArg('options.require', '"cluster"', value);
  return value === 'cluster';
}

const NO_SEND_OPTIONS = Object.freeze({ strict: false, fleeting: false, key: undefined });

/** The options of a delivery to a user or a room. `fleeting`: it gets no place in a history. */
function toSendOptions(value) {
  if (value === undefined) return NO_SEND_OPTIONS;
  const options = toOptions(value, ['require', 'history', 'idempotencyKey']);
  const { require: required, history, idempotencyKey: key } = options;
  const strict = isCluster(required);
  if (history !== undefined && typeof history !== 'boolean') {
    throw invalidArg('options.history', 'a boolean', history);
  }
  if (key !== undefined) {
    if (typeof key !== 'string') throw invalidArg('options.idempotencyKey', 'a string', key);
    checkName(key, 'options.idempotencyKey', MAX_KEY_BYTES);
  }
  return { strict, fleeting: history === false, key };
}

/** The user or the room whose history is meant. */
function toTopic(value) {
  const expected = 'an object, { userId } or { room }';
  if (!isRecord(value) || Object.keys(value).some((key) => key !== 'userId' && key !== 'room')) {
    throw invalidArg('topic', expected, value);
  }
  const { userId, room } = value;
  if ((userId === undefined) === (room === undefined)) {
    throw invalidArg('topic', `${expected}, not ${userId === undefined ? 'neither' : 'both'}`, value);
  }
  return userId === undefined
    ? { isRoom: true, name: toId(room, 'topic.room') }
    : { isRoom: false, name: toId(userId, 'topic.userId') };
}

/** The options of reading a history. The addon knows what a position is. */
function toPageOptions(value) {
  const { after, limit = PAGE } = toOptions(value, ['after', 'limit']);
  if (after !== undefined && typeof after !== 'string') {
    throw invalidArg('options.after', 'a position, which is a string', after);
  }
  if (typeof limit !== 'number') throw invalidArg('options.limit', 'a number of messages', limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE) {
    throw argOutOfRange('options.limit', `an integer from 1 to ${MAX_PAGE}`, limit);
  }
  return { after, limit };
}

/** The name of a channel: a non-empty string of at most 64 KiB of UTF-8. */
function toChannel(value) {
  if (typeof value !== 'string') throw invalidArg('channel', 'a string', value);
  return checkName(value, 'channel', MAX_CHANNEL_BYTES);
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
  toSendOptions,
  toTopic,
  toPageOptions,
  toChannel,
  toOptions,
  toWait,
  toCloseOptions,
};
