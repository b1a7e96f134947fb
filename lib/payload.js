'use strict';

const { types } = require('node:util');
const { failure, reasonOf } = require('./error');

const EMPTY = new Uint8Array(0);

/**
 * What the addon sends for `data`: a string as it is, bytes as bytes, anything else as JSON.
 * The addon copies bytes before it returns; none of them is kept.
 *
 * @throws {TypeError} `ERR_NOT_SERIALIZABLE` if `JSON.stringify` throws or answers `undefined`, and for a promise
 */
function toPayload(data) {
  if (typeof data === 'string') return data;
  if (typeof data === 'object' && data !== null) {
    if (ArrayBuffer.isView(data)) return viewBytes(data);
    if (types.isAnyArrayBuffer(data)) return bufferBytes(data, 0, undefined);
  }
  return toJson(data);
}

function viewBytes(view) {
  try {
    if (types.isUint8Array(view) && !types.isSharedArrayBuffer(view.buffer))
      return view.byteLength === 0 ? EMPTY : view;
    return bufferBytes(view.buffer, view.byteOffset, view.byteLength);
  } catch (cause) {
    // A view on a buffer that was detached or has shrunk.
    throw notSerializable('data', reasonOf(cause), cause);
  }
}

function bufferBytes(buffer, offset, length) {
  const bytes = new Uint8Array(buffer, offset, length);
  if (bytes.byteLength === 0) return EMPTY;
  // Another thread may write to shared memory at any time; Rust must not read from such.
  return types.isSharedArrayBuffer(buffer) ? Uint8Array.from(bytes) : bytes;
}

/** The JSON of `data`, which is the argument `name`. @throws {TypeError} as {@link toPayload} */
function toJson(data, name = 'data') {
  // Its JSON is {}, which nobody means.
  if (types.isPromise(data)) throw notSerializable(name, 'it is a promise, to be awaited first');
  let text;
  try {
    text = JSON.stringify(data);
  } catch (cause) {
    throw notSerializable(name, reasonOf(cause), cause);
  }
  if (typeof text !== 'string') throw notSerializable(name, `JSON has nothing for ${typeof data}`);
  return text;
}

function notSerializable(name, why, cause) {
  return failure(TypeError, 'ERR_NOT_SERIALIZABLE', `"${name}" can't be sent: ${why}`, cause);
}

module.exports = { toJson, toPayload };
