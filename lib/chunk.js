'use strict';

const { isUint8Array } = require('node:util/types');
const { describe } = require('./error');

/**
 * What a stream has read, as bytes.
 *
 * @throws {TypeError} for what a stream in object mode may give
 */
function toBytes(chunk) {
  if (isUint8Array(chunk)) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk, 'latin1');
  throw new TypeError(`a stream has to give bytes; got ${describe(chunk)}`);
}

module.exports = { toBytes };
