'use strict';

const { validateHeaderName, validateHeaderValue } = require('node:http');
const { argOutOfRange, invalidArg } = require('./error');

/** Bytes of all headers that an application adds to an answer: clients take about as many (Node 16 KiB). */
const MAX_BYTES = 8192;

/** Headers that say how the answer is framed, or what becomes of the connection: those are the handshake's. */
const RESERVED = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const isReserved = (name) => RESERVED.has(name) || name.startsWith('sec-websocket-');

/** Names and values in turn, of pairs or of an object whose members may be lists. */
function* linesOf(value, what) {
  if (typeof value[Symbol.iterator] === 'function') {
    for (const pair of value) {
      if (!Array.isArray(pair) || pair.length !== 2)
        throw invalidArg(what, 'pairs of a name and a value', pair);
      yield pair;
    }
    return;
  }
  for (const name of Object.keys(value)) {
    const values = Array.isArray(value[name]) ? value[name] : [value[name]];
    for (const one of values) yield [name, one];
  }
}

/**
 * Headers of an answer that the application adds to: names and values by turns, as the addon takes them.
 *
 * @param {unknown} value - an object, a `Headers` or other pairs
 * @param {string} what - its name, for errors
 * @throws {TypeError} `ERR_INVALID_ARG`
 * @throws {RangeError} `ERR_ARG_OUT_OF_RANGE`
 */
function toHeaders(value, what) {
  if (typeof value !== 'object' || value === null) throw invalidArg(what, 'an object or Headers', value);
  const lines = [];
  let bytes = 0;
  for (const [name, text] of linesOf(value, what)) {
    if (typeof name !== 'string') throw invalidArg(what, 'pairs of a name and a value', name);
    if (typeof text !== 'string') throw invalidArg(`${what}[${JSON.stringify(name)}]`, 'a string', text);
    try {
      validateHeaderName(name);
      validateHeaderValue(name, text);
    } catch {
      // Not the value, which may be a secret.
      throw argOutOfRange(what, 'headers as RFC 9110 has them, in Latin-1 and without line breaks', name);
    }
    if (isReserved(name.toLowerCase()))
      throw argOutOfRange(what, "none of the handshake's own headers", name);
    // ": " and the end of the line.
    bytes += name.length + text.length + 4;
    if (bytes > MAX_BYTES) throw argOutOfRange(what, `at most ${MAX_BYTES} bytes in all`, bytes);
    lines.push(name, text);
  }
  return lines;
}

module.exports = { toHeaders };
