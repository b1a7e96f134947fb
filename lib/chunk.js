'use strict';

const { isUint8Array } = require('node:util/types');
const { describe } = require('./error');

/**
 * A chunk of a stream, as bytes.
 *
 * @throws {TypeError} for what a stream in object mode may give
 */
function toBytes(chunk) {
  if (isUint8Array(chunk)) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk, 'latin1');
  throw new TypeError(`a stream has to give bytes; got ${describe(chunk)}`);
}

module.exports = { toBytes };
