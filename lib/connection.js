'use strict';

const { toCloseCode, toId, toPing, toReason } = require('./argument');
const { CloseCode } = require('./catalogue');
const { toPayload } = require('./payload');

/**
 * The key of what a connection keeps of its request, if anything: as the addon joins it, until someone asks for `request`. A
 * field would cost every connection eight bytes.
 */
const REQUEST = Symbol('request');

/** Its state in JavaScript: open; closed by a call, while its messages go on coming; gone. */
const OPEN = 0;
const CLOSING = 1;
const GONE = 2;

let end;
let release;
let contextOf;
let isGone;

/** One WebSocket connection. Documented in index.d.ts. */
class Connection {
  #native;
  #number;
  #key;
  #userId;
  #protocol;
  #remoteAddress;
  #data;
  /** JSON of the claims until someone asks for `data`. */
  #claims;
  #state = OPEN;
  #paused = false;
  /** An AsyncResource of its upgrade, if that had a context. */
  #context;

  /** Made by the directory only. `info` is the addon's description of connection `number`. */
  constructor(native, number, info, data, context) {
    this.#context = context;
    this.#native = native;
    this.#number = number;
    this.#key = info.key;
    this.#userId = info.userId;
    this.#protocol = info.protocol;
    this.#remoteAddress = info.remoteAddress;
    if (typeof info.request === 'string') this[REQUEST] = info.request;
    this.#data = data;
    this.#claims = data === undefined ? (info.data ?? null) : null;
  }

  static {
    end = (connection) => {
      connection.#state = GONE;
    };
    release = (connection) => connection.#context?.emitDestroy();
    isGone = (connection) => connection.#state === GONE;
    contextOf = (connection) => connection.#context;
  }

  get id() {
    return this.#key;
  }

  get userId() {
    return this.#userId;
  }

  get protocol() {
    return this.#protocol;
  }

  get remoteAddress() {
    return this.#remoteAddress;
  }

  get request() {
    if (typeof this[REQUEST] === 'string') this[REQUEST] = toRequest(this[REQUEST]);
    return this[REQUEST];
  }

  get data() {
    if (this.#claims !== null) {
      this.#data = JSON.parse(this.#claims);
      this.#claims = null;
    }
    return this.#data;
  }

  set data(value) {
    this.#claims = null;
    this.#data = value;
  }

  get rooms() {
    return this.#native.rooms(this.#number);
  }

  get bufferedAmount() {
    return this.#native.bufferedAmount(this.#number);
  }

  get isOpen() {
    return this.#state === OPEN && this.#native.isOpen(this.#number);
  }

  get isPaused() {
    return this.#paused;
  }

  send(data) {
    if (typeof data === 'string') return this.#native.sendText(this.#number, data);
    return this.#native.send(this.#number, toPayload(data));
  }

  close(code, reason) {
    const checkedReason = toReason(reason);
    // A frame without a code has no room for a reason.
    const checkedCode = toCloseCode(code, checkedReason === '' ? CloseCode.NO_STATUS : CloseCode.NORMAL);
    if (this.#state === OPEN) this.#state = CLOSING;
    this.#native.close(this.#number, checkedCode, checkedReason);
  }

  terminate() {
    this.#state = GONE;
    this.#native.terminate(this.#number);
  }

  ping(data) {
    return this.#native.ping(this.#number, toPing(data));
  }

  pause() {
    if (this.#state === GONE) return;
    this.#paused = true;
    this.#native.pause(this.#number);
  }

  resume() {
    if (this.#state === GONE) return;
    this.#paused = false;
    this.#native.resume(this.#number);
  }

  join(room) {
    this.#native.join(this.#number, toId(room, 'room'));
  }

  leave(room) {
    this.#native.leave(this.#number, toId(room, 'room'));
  }

  /** The text of `console.log`, without `data`, which may hold what has no business in a log. */
  [Symbol.for('nodejs.util.inspect.custom')](_depth, options, inspect) {
    const { id, userId, protocol, remoteAddress, isOpen } = this;
    return `Connection ${inspect({ id, userId, protocol, remoteAddress, isOpen }, options)}`;
  }
}

/** The request of `url\nname\nvalue\nname\nvalue…`. */
function toRequest(joined) {
  const [url, ...lines] = joined.split('\n');
  const headers = Object.create(null);
  for (let i = 0; i < lines.length; i += 2) headers[lines[i]] = lines[i + 1];
  return Object.freeze({ url, headers: Object.freeze(headers) });
}

module.exports = {
  Connection,
  /** Notes that the connection is gone. */
  endConnection: (connection) => end(connection),
  /** Ends its AsyncResource: its last listeners were called. */
  releaseContext: (connection) => release(connection),
  /** True once it was terminated or has ended: its listeners hear no more than `disconnect`. */
  isGone: (connection) => isGone(connection),
  /** The AsyncResource in which its listeners run, or `undefined` for the manager's. */
  contextOf: (connection) => contextOf(connection),
  /** Runs `work` as its listeners are. */
  runFor: (connection, work) => {
    const context = contextOf(connection);
    return context === undefined ? work() : context.runInAsyncScope(work);
  },
};
