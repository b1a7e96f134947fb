'use strict';

const { EventEmitter } = require('node:events');
const { performance } = require('node:perf_hooks');
const { Answers } = require('./answers');
const { isRecord, toChannel } = require('./argument');
const { PUBSUB, toBrokerStatus } = require('./broker-status');
const { closedError, failure, failureOf, invalidArg, reasonOf } = require('./error');
const { Hold } = require('./hold');
const { Kind } = require('./constants');
const { Listeners } = require('./listeners');
const { NativePubSub } = require('./native');
const { toJson } = require('./payload');
const { promised } = require('./promise');
const { Pump } = require('./pump');

/** Least time between two warnings of messages that aren't JSON. */
const REFUSED_MS = 1000;

/** Pub/Sub on channels of the application's own. Documented in index.d.ts. */
class RedisPubSub extends EventEmitter {
  #native;
  #pump;
  #listeners = new Listeners(this, PUBSUB, () => {});
  #pending = new Hold();
  #subscribed = new Hold();
  #answers = new Answers(this.#pending);
  /** Channel -> its handlers, and how many confirmations of each are awaited. */
  #channels = new Map();
  /** Messages that were skipped without being told of, and until when such are not told of. */
  #refused = 0;
  #refusedUntil = 0;
  /** The promise of `close()`, once it was called. */
  #closing = null;
  #onClosed;

  constructor(url, options) {
    super();
    if (url !== undefined && typeof url !== 'string' && !Array.isArray(url)) {
      throw invalidArg('url', 'a string or an array of such', url);
    }
    if (options !== undefined && !isRecord(options)) throw invalidArg('options', 'an object', options);
    this.#pump = new Pump(this.#dispatch);
    const redis = url === undefined ? options : { ...options, url };
    this.#native = new NativePubSub(redis, process.env.REDIS_URL || undefined, this.#pump.wake);
    this.#pump.start(this.#native);
  }

  initialize() {
    return this.#answer(this.#pending, () => this.#native.ready());
  }

  publish(channel, message) {
    return this.#answer(this.#pending, () =>
      this.#native.publish(toChannel(channel), toJson(message, 'message')),
    );
  }

  subscribe(channel, handler) {
    return promised(() => {
      this.#checkOpen();
      const name = toChannel(channel);
      if (typeof handler !== 'function') throw invalidArg('handler', 'a function', handler);
      // A process that may end although there are subscriptions may also end before Redis has confirmed them.
      const confirmed = this.#answers.of(this.#native.subscribe(name), this.#subscribed) ?? undefined;
      if (!this.#channels.has(name)) {
        this.#channels.set(name, new Map());
        this.#subscribed.take();
      }
      const handlers = this.#channels.get(name);
      handlers.set(handler, handlers.get(handler) ?? 0);
      if (confirmed === undefined) return undefined;
      handlers.set(handler, handlers.get(handler) + 1);
      const settle = () => {
        if (handlers.has(handler)) handlers.set(handler, handlers.get(handler) - 1);
      };
      return confirmed.then(settle, (error) => {
        settle();
        // Redis forbids it: nothing will ever come, and nothing is to be held for it.
        if (error.code === 'ERR_BROKER_AUTH') this.#take(name, handler);
        throw error;
      });
    });
  }

  unsubscribe(channel, handler) {
    return this.#answer(this.#pending, () => {
      const name = toChannel(channel);
      if (handler !== undefined && typeof handler !== 'function') {
        throw invalidArg('handler', 'a function', handler);
      }
      this.#take(name, handler);
      return undefined;
    });
  }

  /** Takes a handler, or all, off a channel. */
  #take(name, handler) {
    const handlers = this.#channels.get(name);
    if (handlers === undefined) return;
    if (handler === undefined) handlers.clear();
    else handlers.delete(handler);
    this.#dropIfEmpty(name, handlers);
  }

  /** Redis has ended a subscription. Callers that wait for it to be confirmed again are told by a promise. */
  #end(name) {
    const handlers = this.#channels.get(name);
    if (handlers === undefined) return;
    for (const [handler, awaited] of handlers) if (awaited === 0) handlers.delete(handler);
    this.#dropIfEmpty(name, handlers);
  }

  #dropIfEmpty(name, handlers) {
    if (handlers.size === 0) {
      this.#channels.delete(name);
      this.#subscribed.release();
      this.#native.unsubscribe(name);
    }
  }

  ref() {
    this.#subscribed.ref();
    return this;
  }

  unref() {
    this.#subscribed.unref();
    return this;
  }

  close() {
    if (this.#closing !== null) return this.#closing;
    this.#pending.take();
    this.#closing = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
    this.#native.close();
    return this.#closing;
  }

  /** The result of a call of the addon's, as a promise that holds the event loop by `hold`. */
  #answer(hold, call) {
    return promised(() => {
      this.#checkOpen();
      return this.#answers.of(call(), hold) ?? undefined;
    });
  }

  #checkOpen() {
    if (this.#closing !== null) throw closedError('RedisPubSub');
  }

  /** Hands one event of the addon's to whom it concerns. */
  #dispatch = (kind, _id, number, payload) => {
    switch (kind) {
      case Kind.CHANNEL:
        this.#message(payload[0], payload[1]);
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
      case Kind.FORBIDDEN: {
        const [channel, code, message] = payload;
        this.#end(channel);
        this.#listeners.error(failure(Error, code, message));
        break;
      }
      case Kind.PROBLEM:
        this.#listeners.error(failureOf(payload));
        break;
      case Kind.CLOSED:
        this.#finish();
        break;
    }
  };

  #message(channel, text) {
    const handlers = this.#channels.get(channel);
    if (handlers === undefined) return;
    let message;
    try {
      message = JSON.parse(text);
    } catch (cause) {
      this.#refuse(channel, cause);
      return;
    }
    // A copy: a handler may subscribe or unsubscribe.
    for (const handler of [...handlers.keys()]) this.#listeners.handler(channel, handler, message);
  }

  /** Tells of a message that isn't JSON; once a second, for whoever publishes one may publish many. */
  #refuse(channel, cause) {
    const now = performance.now();
    if (now < this.#refusedUntil) {
      this.#refused += 1;
      return;
    }
    const more = this.#refused > 0 ? `; so were ${this.#refused} more since the last such error` : '';
    const why = `A message on channel ${JSON.stringify(channel)} was skipped, for it is not JSON: ${reasonOf(cause)}${more}`;
    this.#refused = 0;
    this.#refusedUntil = now + REFUSED_MS;
    this.#listeners.error(failure(Error, 'ERR_BAD_MESSAGE', why, cause));
  }

  #finish() {
    this.#pump.stop();
    this.#answers.close(closedError('RedisPubSub'));
    if (this.#channels.size > 0) {
      for (let left = this.#channels.size; left > 0; left -= 1) this.#subscribed.release();
      this.#channels.clear();
    }
    this.#pending.release();
    this.#onClosed();
  }
}

if (Symbol.asyncDispose !== undefined) {
  RedisPubSub.prototype[Symbol.asyncDispose] = function asyncDispose() {
    return this.close();
  };
}

module.exports = { RedisPubSub };
