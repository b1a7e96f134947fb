'use strict';

const { types } = require('node:util');
const { failure, reasonOf } = require('./error');

const EMPTY = new Uint8Array(0);
/** Of all typed arrays. */
const { indexOf } = Object.getPrototypeOf(Uint8Array.prototype);

/**
 * The payload for `data`: a string as it is, bytes as bytes, anything else as JSON.
 * The addon copies bytes before it returns; none of them is kept.
 *
 * @throws {TypeError} `ERR_NOT_SERIALIZABLE` if `JSON.stringify` throws or answers `undefined`, or leaves out what `data` holds
 */
function toPayload(data) {
  if (typeof data === 'string') return data;
  if (typeof data === 'object' && data !== null) {
    if (ArrayBuffer.isView(data) || types.isAnyArrayBuffer(data)) return toBytes(data);
  }
  return toJson(data);
}

function toBytes(data) {
  try {
    return ArrayBuffer.isView(data) ? viewBytes(data) : bufferBytes(data, 0, undefined);
  } catch (cause) {
    // A buffer that was detached, or a view on one that was or has shrunk.
    throw notSerializable('data', reasonOf(cause), cause);
  }
}

function viewBytes(view) {
  if (types.isTypedArray(view) && view.byteLength === 0) {
    // Throws if the view is empty only because its buffer is not what it was.
    Reflect.apply(indexOf, view, [0]);
    return EMPTY;
  }
  if (types.isUint8Array(view) && !types.isSharedArrayBuffer(view.buffer)) return view;
  return bufferBytes(view.buffer, view.byteOffset, view.byteLength);
}

function bufferBytes(buffer, offset, length) {
  const bytes = new Uint8Array(buffer, offset, length);
  if (bytes.byteLength === 0) return EMPTY;
  // Another thread may write to shared memory at any time; Rust must not read from such.
  return types.isSharedArrayBuffer(buffer) ? Uint8Array.from(bytes) : bytes;
}

/** The JSON of `data`, which is the argument `name`. @throws {TypeError} as {@link toPayload} */
function toJson(data, name = 'data') {
  let text;
  let lost;
  try {
    text = JSON.stringify(data);
    lost = typeof data === 'object' ? lostOf(data, text) : undefined;
  } catch (cause) {
    throw notSerializable(name, reasonOf(cause), cause);
  }
  if (typeof text !== 'string') throw notSerializable(name, `JSON has nothing for ${typeof data}`);
  if (lost !== undefined) throw notSerializable(name, lost);
  return text;
}

/**
 * Says why `text` is not what anyone means by `data`, if so: its JSON is {} (a Map, Set, RegExp, Promise, Blob, iterator, Headers)
 * or what happens to be set on it (an Error). Not for what has a `toJSON`, such as a Date or a URL.
 */
function lostOf(data, text) {
  if (data === null || Array.isArray(data)) return undefined;
  const prototype = Object.getPrototypeOf(data);
  if (prototype === Object.prototype || prototype === null || typeof data.toJSON === 'function')
    return undefined;
  const kind = Object.prototype.toString.call(data).slice(8, -1);
  // An instance of a class, as a rule.
  if (kind === 'Object') return undefined;
  if (types.isPromise(data)) return 'it is a promise, to be awaited first';
  if (kind === 'Blob' || kind === 'File') return `it is a ${kind}: send await data.arrayBuffer()`;
  const isContainer =
    types.isMap(data) || types.isSet(data) || types.isNativeError(data) || types.isRegExp(data);
  if (!isContainer && text !== '{}') return undefined;
  return `JSON leaves out what ${/^(?!URL)[AEIOU]/.test(kind) ? 'an' : 'a'} ${kind} holds`;
}

function notSerializable(name, why, cause) {
  return failure(TypeError, 'ERR_NOT_SERIALIZABLE', `"${name}" can't be sent: ${why}`, cause);
}

module.exports = { toJson, toPayload };
