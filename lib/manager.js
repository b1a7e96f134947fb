'use strict';

const { EventEmitter } = require('node:events');
const { checkDeliveryOptions, toCloseCode, toCloseOptions, toId, toReason } = require('./argument');
const { ConnectionManager } = require('./connections');
const { Directory } = require('./directory');
const { closedError, failure } = require('./error');
const { Handover, checkUpgrade } = require('./handover');
const { Handshakes } = require('./handshakes');
const { Hold } = require('./hold');
const { Listeners } = require('./listeners');
const { NativeManager } = require('./native');
const { toPayload } = require('./payload');
const { Pump } = require('./pump');
const { checkNameIsFree, registry } = require('./registry');
const { ServerWatch } = require('./server-watch');
const { checkPathIsFree, checkServer, listen, refuse } = require('./upgrade');

/** Kinds of events in the addon's batches. */
const OPEN = 1;
const TEXT = 2;
const BINARY = 3;
const CLOSE = 4;
const SLOW = 5;
const UPGRADED = 6;
const REFUSED = 7;
const CLOSED = 8;
const BRIDGE_READABLE = 9;
const BRIDGE_DRAIN = 10;
const BRIDGE_END = 11;

const nothing = () => {};

/** A promise that may be left alone: its rejection is never an unhandled one. */
function handled(promise) {
  promise.then(undefined, nothing);
  return promise;
}

/** What `work` answers or throws, as such a promise. */
function promised(work) {
  try {
    return Promise.resolve(work());
  } catch (error) {
    return handled(Promise.reject(error));
  }
}

/** WebSockets on a Node HTTP server, run by Rust. Documented in index.d.ts. */
class WebSocketManager extends EventEmitter {
  #native;
  #connections;
  #directory;
  #handover;
  #handshakes;
  #listeners;
  #pump;
  #hold = new Hold();
  #stopListening;
  /** The promise of `close()`, once it was called. */
  #closing = null;
  #onClosed = nothing;

  constructor(server, options) {
    super();
    checkServer(server);
    checkNameIsFree(typeof options?.name === 'string' ? options.name : 'default');
    this.#pump = new Pump(this.#dispatch);
    const native = new NativeManager(options, process.env.JWT_SECRET || undefined, this.#pump.wake);
    this.#native = native;
    try {
      this.#begin(server, options);
    } catch (error) {
      this.#pump.stop();
      native.shutdown(0, 1001, '');
      throw error;
    }
  }

  #begin(server, options) {
    const native = this.#native;
    checkPathIsFree(server, native.path);
    warnAboutRedis();
    this.#pump.start(native);
    this.#listeners = new Listeners(this, (bits) => native.setInterest(bits));
    this.#directory = new Directory(native, (number) => this.#handshakes.dataOf(number));
    this.#connections = new ConnectionManager(native, this.#directory, () => this.#closing !== null);
    const watch = new ServerWatch(() => this.close({ code: 1001 }));
    this.#handover = new Handover(native, () => watch.bridged());
    this.#handshakes = new Handshakes(
      native,
      this.#handover,
      native.authMode === 'authenticate' ? options.auth : undefined,
      (error) => this.#listeners.error(error),
    );

    const stopUpgrades = listen(server, native, (req, socket, head) => this.#accept(req, socket, head));
    try {
      watch.start(server);
    } catch (error) {
      stopUpgrades();
      throw error;
    }
    this.#stopListening = () => {
      stopUpgrades();
      watch.stop();
    };
    registry().managers.set(native.name, this);
  }

  get name() {
    return this.#native.name;
  }

  get path() {
    return this.#native.path;
  }

  get connections() {
    return this.#connections;
  }

  sendToUser(userId, data, options) {
    return this.#deliver(options, () => this.#native.sendToUser(toId(userId, 'userId'), toPayload(data)));
  }

  sendToRoom(room, data, options) {
    return this.#deliver(options, () => this.#native.sendToRoom(toId(room, 'room'), toPayload(data)));
  }

  broadcast(data, options) {
    return this.#deliver(options, () => this.#native.broadcast(toPayload(data)));
  }

  #deliver(options, send) {
    return promised(() => {
      this.#checkOpen();
      checkDeliveryOptions(options);
      return send();
    });
  }

  disconnectUser(userId, code, reason) {
    return promised(() => {
      this.#checkOpen();
      return this.#native.disconnectUser(toId(userId, 'userId'), toCloseCode(code, 4002), toReason(reason));
    });
  }

  isOnline(userId) {
    return promised(() => {
      this.#checkOpen();
      return this.#native.isOnline(toId(userId, 'userId'));
    });
  }

  handleUpgrade(req, socket, head, identity) {
    return promised(() => {
      this.#checkOpen();
      checkUpgrade(req, socket, head);
      const connection = this.#handshakes.complete(req, socket, head, identity);
      this.#hold.take();
      const release = () => this.#hold.release();
      connection.then(release, release);
      return connection;
    });
  }

  ready() {
    return promised(() => this.#checkOpen());
  }

  stats() {
    return JSON.parse(this.#native.stats());
  }

  close(options) {
    if (this.#closing !== null) return this.#closing;
    return promised(() => {
      const { drainMs, code, reason } = toCloseOptions(options);
      this.#hold.take();
      this.#closing = new Promise((resolve) => {
        this.#onClosed = resolve;
      });
      this.#native.shutdown(drainMs, code, reason);
      return this.#closing;
    });
  }

  #checkOpen() {
    if (this.#closing !== null) throw closedError();
  }

  /** An upgrade of our path. */
  #accept(req, socket, head) {
    try {
      this.#handshakes.begin(req, socket, head);
    } catch (error) {
      const closing = this.#closing !== null;
      refuse(socket, closing ? failure(Error, 'ERR_SHUTTING_DOWN', 'The server is shutting down') : error);
      if (!closing) this.#listeners.error(error);
    }
  }

  /** Hands one event of the addon's to whom it concerns. */
  #dispatch = (kind, id, number, payload) => {
    switch (kind) {
      case TEXT:
      case BINARY: {
        const connection = this.#directory.ofEvent(id);
        if (connection !== undefined) this.#listeners.message(connection, payload, kind === BINARY);
        break;
      }
      case OPEN:
        this.#listeners.connection(this.#directory.adopt(id, payload));
        break;
      case CLOSE: {
        const connection = this.#directory.forget(id, this.listenerCount('disconnect') > 0);
        if (connection !== undefined) this.#listeners.disconnect(connection, number, payload);
        break;
      }
      case SLOW: {
        const connection = this.#directory.ofEvent(id);
        const dropped = { droppedBytes: number, droppedMessages: payload };
        if (connection !== undefined) this.#listeners.slow(connection, dropped);
        break;
      }
      case UPGRADED:
        this.#handshakes.upgraded(id, this.#directory.adopt(id, payload));
        break;
      case REFUSED:
        this.#handshakes.refused(number, payload);
        break;
      case BRIDGE_READABLE:
        this.#handover.bridge(id)?.readable();
        break;
      case BRIDGE_DRAIN:
        this.#handover.bridge(id)?.drained();
        break;
      case BRIDGE_END:
        this.#handover.bridge(id)?.finish(number !== 0);
        break;
      case CLOSED:
        this.#finish();
        break;
    }
  };

  /** The addon has shut down: nothing comes from it any more. */
  #finish() {
    this.#pump.stop();
    this.#stopListening();
    this.#handshakes.close();
    this.#handover.close();
    this.#directory.clear();
    const { managers } = registry();
    if (managers.get(this.name) === this) managers.delete(this.name);
    this.#hold.release();
    this.#onClosed();
  }

  /** What an asynchronous listener rejects with where the application emits an event itself, with `captureRejections`. */
  [Symbol.for('nodejs.rejection')](thrown, name) {
    this.#listeners.failed(String(name), thrown);
  }

  // Every way in which listeners come and go ends in one of these, so the addon always knows which events to send.

  on(name, listener) {
    super.on(name, listener);
    this.#listeners.refresh(name);
    return this;
  }

  addListener(name, listener) {
    return this.on(name, listener);
  }

  prependListener(name, listener) {
    super.prependListener(name, listener);
    this.#listeners.refresh(name);
    return this;
  }

  removeListener(name, listener) {
    super.removeListener(name, listener);
    this.#listeners.refresh(name);
    return this;
  }

  off(name, listener) {
    return this.removeListener(name, listener);
  }

  removeAllListeners(...names) {
    super.removeAllListeners(...names);
    this.#listeners.refresh(names[0]);
    return this;
  }
}

if (Symbol.asyncDispose !== undefined) {
  WebSocketManager.prototype[Symbol.asyncDispose] = function asyncDispose() {
    return this.close();
  };
}

/** Once per process: whoever has set REDIS_URL counts on messages that cross servers. */
function warnAboutRedis() {
  const { warned } = registry();
  if (!process.env.REDIS_URL || warned.has('ACTORY_WS_NO_REDIS')) return;
  warned.add('ACTORY_WS_NO_REDIS');
  process.emitWarning(
    'REDIS_URL is set, but this version of @actory/websocket runs on a single server: messages reach connections of this process only',
    { type: 'ActoryWebSocketWarning', code: 'ACTORY_WS_NO_REDIS' },
  );
}

module.exports = { WebSocketManager };
