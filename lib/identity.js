'use strict';

const { types } = require('node:util');
const { toId } = require('./argument');
const { argOutOfRange, describe, failure, invalidArg, reasonOf } = require('./error');
const { toHeaders } = require('./headers');
const { BEARER } = require('./constants');

const KEYS = ['userId', 'rooms', 'data', 'expiresAt', 'protocol', 'headers'];

/**
 * Checks what `authenticate` answered, or what `handleUpgrade` was given, and takes it apart: the part that goes to
 * the addon, and `data`, which stays in JavaScript.
 *
 * @param {unknown} value
 * @param {number} maxRooms - most rooms that an identity has, each counted once
 * @param {string[]} offered - the subprotocols that the client offers
 * @throws {TypeError} `ERR_INVALID_IDENTITY`, with the `cause`
 */
function toIdentity(value, maxRooms, offered) {
  try {
    if (typeof value !== 'object' || value === null) throw invalidArg('identity', 'an object', value);
    for (const key of Object.keys(value)) {
      if (KEYS.includes(key)) continue;
      throw failure(
        TypeError,
        'ERR_INVALID_ARG',
        `an identity has no ${describe(key)}: only ${KEYS.join(', ')}`,
      );
    }
    const { userId, rooms, data, expiresAt, protocol, headers } = value;
    const native = { userId: toId(userId, 'identity.userId') };
    if (rooms !== undefined) native.rooms = toRooms(rooms, maxRooms);
    if (expiresAt !== undefined) native.expiresAt = toUnixMs(expiresAt);
    if (protocol !== undefined) native.protocol = toProtocol(protocol, offered);
    if (headers !== undefined) native.headers = toHeaders(headers, 'identity.headers');
    return { native, data };
  } catch (cause) {
    throw failure(TypeError, 'ERR_INVALID_IDENTITY', `Not an identity: ${reasonOf(cause)}`, cause);
  }
}

function toRooms(rooms, max) {
  if (!Array.isArray(rooms)) throw invalidArg('identity.rooms', 'an array', rooms);
  const distinct = new Set(Array.from(rooms, (room, index) => toId(room, `identity.rooms[${index}]`)));
  if (distinct.size > max) {
    throw argOutOfRange('identity.rooms', `at most limits.roomsPerConnection (${max}) rooms`, distinct.size);
  }
  return [...distinct];
}

function toUnixMs(expiresAt) {
  const ms = types.isDate(expiresAt) ? Date.prototype.getTime.call(expiresAt) : Number.NaN;
  if (Number.isNaN(ms)) throw invalidArg('identity.expiresAt', 'a valid Date', expiresAt);
  // A time before 1970 is as much over as 1970 is.
  return Math.max(ms, 0);
}

/** One of the subprotocols that the client has offered: it fails the connection for any other (RFC 6455, section 4.1). */
function toProtocol(protocol, offered) {
  if (typeof protocol !== 'string') throw invalidArg('identity.protocol', 'a string', protocol);
  // A token follows `bearer`; to choose it would echo it.
  const isSecret = offered[offered.indexOf(protocol) - 1] === BEARER;
  if (!offered.includes(protocol) || isSecret) {
    throw argOutOfRange(
      'identity.protocol',
      'a subprotocol that the client has offered',
      isSecret ? BEARER : protocol,
    );
  }
  return protocol;
}

module.exports = { toIdentity };
