'use strict';

const { setImmediate } = require('node:timers'); // not the global one, which tests fake
const { EventEmitter } = require('node:events');
const { Answers } = require('./answers');
const {
  isStrict,
  toChannel,
  toCloseCode,
  toCloseOptions,
  toId,
  toPageOptions,
  toReason,
  toSendOptions,
  toTopic,
} = require('./argument');
const { MANAGER, toBrokerStatus } = require('./broker-status');
const { isGone, releaseContext } = require('./connection');
const { ConnectionManager } = require('./connections');
const { Directory } = require('./directory');
const { closedError, failureOf } = require('./error');
const { Handover, checkUpgrade } = require('./handover');
const { Handshakes } = require('./handshakes');
const { Hold } = require('./hold');
const { CLOSED_BY, Kind } = require('./constants');
const { JoinRequests } = require('./join-requests');
const { Listeners } = require('./listeners');
const { availableMemory } = require('./memory');
const { toMissed } = require('./missed');
const { NativeManager } = require('./native');
const { toJson, toPayload } = require('./payload');
const { promised } = require('./promise');
const { Pump } = require('./pump');
const { Requests } = require('./requests');
const { checkNameIsFree, registry } = require('./registry');
const { checkPathIsFree, hookOf } = require('./server-hook');
const { ServerWatch } = require('./server-watch');
const { checkServer, refuse } = require('./upgrade');
const { notify } = require('./warning');

/** Code of the warning that a manager without Redis gives. */
const SINGLE_SERVER = 'ACTORY_WS_SINGLE_SERVER';
/** The subprotocol of clients that resume. */
const PROTOCOL = 'actory.v1';

const nothing = () => {};

/** WebSockets on a Node HTTP server, run by Rust. Documented in index.d.ts. */
class WebSocketManager extends EventEmitter {
  #native;
  #connections;
  #directory;
  #handover;
  #handshakes;
  #listeners;
  #requests;
  #joinRequests;
  #pump;
  #hold = new Hold();
  #answers = new Answers(this.#hold);
  #stopListening = nothing;
  /** The promise of `close()`, once it was called. */
  #closing = null;
  #onClosed = nothing;

  constructor(server, options) {
    super();
    if (server !== null) checkServer(server);
    checkNameIsFree(typeof options?.name === 'string' ? options.name : 'default');
    this.#pump = new Pump(this.#dispatch);
    const { JWT_SECRET, REDIS_URL } = process.env;
    const native = new NativeManager(
      options,
      JWT_SECRET || undefined,
      REDIS_URL || undefined,
      availableMemory(),
      server === null,
      this.#pump.wake,
    );
    // A function, not a method, because that costs less; called like the methods by connections.
    native.sendText = native.textSender();
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
    if (server !== null) checkPathIsFree(server, native.path);
    if (!native.hasRedis && options?.redis !== false) warnOfSingleServer();
    this.#pump.start(native);
    this.#listeners = new Listeners(this, MANAGER, (bits) => native.setInterest(bits));
    const onError = (error) => this.#listeners.error(error);
    this.#requests = new Requests(native, (isOn) => this.#listeners.answerRequests(isOn), onError);
    this.#joinRequests = new JoinRequests(native, options?.authorize?.join, onError);
    this.#directory = new Directory(native, (number) => this.#handshakes.beginningOf(number));
    this.#connections = new ConnectionManager(native, this.#directory);
    const close = () => this.close({ code: 1001 });
    const watch = server === null ? undefined : new ServerWatch(server, close);
    this.#handover = new Handover(native, () => watch?.bridged());
    this.#handshakes = new Handshakes(
      native,
      this.#handover,
      native.authMode === 'authenticate' ? options.auth : undefined,
      onError,
    );

    if (server !== null) this.#listen(server, watch, close);
    registry().managers.set(native.name, this);
  }

  #listen(server, watch, close) {
    const { name, path } = this.#native;
    const door = {
      name,
      path,
      take: (req, socket, head) => this.#accept(req, socket, head),
      refused: (req, socket, told) => this.#handover.refused(req, socket, told),
      close,
    };
    const hook = hookOf(server);
    hook.add(door);
    this.#stopListening = () => {
      hook.remove(door);
      watch.stop();
    };
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
    return this.#answer(() => {
      const { strict, fleeting, key } = toSendOptions(options);
      return this.#native.sendToUser(toId(userId, 'userId'), toPayload(data), strict, fleeting, key);
    });
  }

  sendToRoom(room, data, options) {
    return this.#answer(() => {
      const { strict, fleeting, key } = toSendOptions(options);
      return this.#native.sendToRoom(toId(room, 'room'), toPayload(data), strict, fleeting, key);
    });
  }

  broadcast(data, options) {
    return this.#answer(() => this.#native.broadcast(toPayload(data), isStrict(options)));
  }

  history(topic, options) {
    return this.#answer(() => {
      const { isRoom, name } = toTopic(topic);
      const { after, limit } = toPageOptions(options);
      const native = this.#native;
      return isRoom ? native.historyOfRoom(name, after, limit) : native.historyOfUser(name, after, limit);
    });
  }

  onRequest(handler) {
    return this.#requests.handle(handler);
  }

  publish(channel, message) {
    return this.#answer(() => this.#native.publish(toChannel(channel), toJson(message, 'message')));
  }

  disconnectUser(userId, code, reason, options) {
    return this.#answer(() => {
      const strict = isStrict(options);
      const user = toId(userId, 'userId');
      return this.#native.disconnectUser(user, toCloseCode(code, 4002), toReason(reason), strict);
    });
  }

  isOnline(userId) {
    return promised(() => {
      const servers = this.#answers.of(this.#native.isOnline(toId(userId, 'userId')));
      return typeof servers === 'number' ? servers > 0 : servers.then((count) => count > 0);
    });
  }

  countConnections(userId) {
    return this.#answer(() => this.#native.count(userId === undefined ? undefined : toId(userId, 'userId')));
  }

  handleUpgrade(req, socket, head, identity) {
    return promised(() => {
      if (this.#closing !== null) {
        this.#turnAway(req, socket, head);
        throw closedError();
      }
      checkUpgrade(req, socket, head);
      const connection = this.#handshakes.complete(req, socket, head, identity);
      this.#hold.take();
      const release = () => this.#hold.release();
      connection.then(release, release);
      return connection;
    });
  }

  ready() {
    return this.#answer(() => this.#native.ready());
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

  /** The result of a call of the addon's, as a promise. The addon knows when it is too late for one. */
  #answer(call) {
    return promised(() => this.#answers.of(call()) ?? undefined);
  }

  /** An upgrade of our path. */
  #accept(req, socket, head) {
    try {
      this.#handshakes.begin(req, socket, head);
    } catch (error) {
      const closing = this.#closing !== null;
      refuse(req, socket, closing ? { code: 'ERR_SHUTTING_DOWN' } : error);
      if (!closing) this.#listeners.error(error);
    }
  }

  /** Answers an upgrade for which the manager is closing, so that its client goes to another server at once. */
  #turnAway(req, socket, head) {
    try {
      checkUpgrade(req, socket, head);
    } catch {
      return;
    }
    const { claimed } = registry();
    if (socket.destroyed || socket.writableEnded || claimed.has(socket)) return;
    claimed.add(socket);
    this.#handover.refused(req, socket, refuse(req, socket, { code: 'ERR_SHUTTING_DOWN' }));
  }

  /** A client that resumes rooms waits until the listeners have put it into them. */
  #open(id, connection) {
    const settled = connection.protocol === PROTOCOL ? () => this.#native.greeted(id) : undefined;
    this.#listeners.connection(connection, settled);
  }

  /** A message of connection `id` that is to be answered, under the name `messageId`. */
  #asked(kind, id, ticket, [data, messageId]) {
    const native = this.#native;
    const connection = this.#directory.ofEvent(id);
    if (connection === undefined || isGone(connection)) {
      native.dropped(ticket);
      return;
    }
    switch (kind) {
      case Kind.SEND:
        this.#listeners.sent(connection, data, typeof data !== 'string', { id: messageId }, (refusal) => {
          if (refusal === undefined) native.taken(ticket);
          else native.refuse(ticket, ...refusal);
        });
        break;
      case Kind.REQUEST:
        this.#requests.serve(connection, ticket, data, messageId);
        break;
      case Kind.JOIN:
        this.#joinRequests.join(connection, id, ticket, data);
        break;
      case Kind.LEAVE:
        this.#joinRequests.leave(id, ticket, data);
        break;
    }
  }

  /** The caller of `handleUpgrade` may put the connection into rooms at once. If there are listeners, they are called next. */
  #upgraded(id, connection) {
    this.#handshakes.upgraded(id, connection);
    if (connection.protocol === PROTOCOL && this.listenerCount('connection') === 0) {
      setImmediate(() => this.#native.greeted(id));
    }
  }

  /** Hands one event of the addon's to whom it concerns. */
  #dispatch = (kind, id, number, payload) => {
    switch (kind) {
      case Kind.TEXT:
      case Kind.BINARY: {
        const connection = this.#directory.ofEvent(id);
        if (connection !== undefined && !isGone(connection))
          this.#listeners.message(connection, payload, kind === Kind.BINARY);
        break;
      }
      case Kind.SEND:
      case Kind.REQUEST:
      case Kind.JOIN:
      case Kind.LEAVE:
        this.#asked(kind, id, number, payload);
        break;
      case Kind.OPEN:
        this.#open(id, this.#directory.adopt(id, payload));
        break;
      case Kind.CLOSE: {
        const connection = this.#directory.forget(id, this.listenerCount('disconnect') > 0);
        if (connection !== undefined) {
          this.#listeners.disconnect(connection, number & 0xffff, payload, CLOSED_BY[number >> 16]);
          releaseContext(connection);
        }
        break;
      }
      case Kind.SLOW: {
        const connection = this.#directory.ofEvent(id);
        const dropped = { droppedBytes: number, droppedMessages: payload };
        if (connection !== undefined) this.#listeners.slow(connection, dropped);
        break;
      }
      case Kind.PONG: {
        const connection = this.#directory.ofEvent(id);
        if (connection !== undefined && !isGone(connection)) this.#listeners.pong(connection, payload);
        break;
      }
      case Kind.DRAIN: {
        const connection = this.#directory.ofEvent(id);
        if (connection !== undefined && !isGone(connection)) this.#listeners.drain(connection);
        break;
      }
      case Kind.UPGRADED:
        this.#upgraded(id, this.#directory.adopt(id, payload));
        break;
      case Kind.REFUSED:
        this.#handshakes.refused(number, payload);
        break;
      case Kind.REFUSAL: {
        const [code, message, url, remoteAddress, origin] = payload;
        this.#listeners.refused({ code, message, url, remoteAddress, origin: origin ?? undefined });
        break;
      }
      case Kind.BRIDGE_READABLE:
        this.#handover.bridge(id)?.readable();
        break;
      case Kind.BRIDGE_DRAIN:
        this.#handover.bridge(id)?.drained();
        break;
      case Kind.BRIDGE_QUESTION:
        this.#handover.bridge(id)?.answer();
        break;
      case Kind.BRIDGE_END:
        this.#handover.bridge(id)?.finish((number & 1) !== 0, (number & 2) !== 0);
        break;
      case Kind.SETTLED:
        this.#answers.settle(number, payload);
        break;
      case Kind.FAILED:
        this.#answers.fail(number, payload);
        break;
      case Kind.BROKER:
        this.#listeners.broker(toBrokerStatus(payload));
        break;
      case Kind.MISSED:
        this.#listeners.missed(toMissed(payload));
        break;
      case Kind.PROBLEM:
        this.#listeners.error(failureOf(payload));
        break;
      case Kind.CLOSED:
        this.#finish();
        break;
    }
  };

  /** The addon has shut down: nothing comes from it any more. */
  #finish() {
    this.#pump.stop();
    this.#stopListening();
    this.#answers.close(closedError());
    this.#listeners.end();
    this.#handshakes.close();
    this.#handover.close();
    this.#directory.clear();
    const { managers } = registry();
    if (managers.get(this.name) === this) managers.delete(this.name);
    this.#hold.release();
    this.#onClosed();
  }

  /** Takes the rejection of an asynchronous listener if the application emits an event itself, with `captureRejections`. */
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

/** Once per process: whoever runs several servers counts on messages that cross them. */
function warnOfSingleServer() {
  const { warned } = registry();
  if (warned.has(SINGLE_SERVER)) return;
  warned.add(SINGLE_SERVER);
  notify(
    SINGLE_SERVER,
    'No Redis: neither the option redis.url nor the environment variable REDIS_URL says where it is, so messages ' +
      'reach connections of this process only. Where that is meant, redis: false says so',
  );
}

module.exports = { WebSocketManager };
