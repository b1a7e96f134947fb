'use strict';

const { noticeOf } = require('./broker-status');
const { contextOf } = require('./connection');
const { failure, reasonOf } = require('./error');
const { Interest } = require('./constants');
const { UnheardGaps } = require('./missed');
const { notify, warn } = require('./warning');

function listenerError(name, thrown) {
  return failure(Error, 'ERR_LISTENER', `A listener of '${name}' failed: ${reasonOf(thrown)}`, thrown);
}

/** A listener of 'error' failed, and there is nobody left to tell but the process. */
function warnOfListener(thrown) {
  warn(listenerError('error', thrown));
}

const NONE = Object.freeze([]);
/** Code and message for clients whose message was not taken. */
const UNHEARD = ['ERR_NO_LISTENER', 'the application neither listens for messages nor relays them'];
const FAILED = ['ERR_LISTENER', 'the application failed to take the message'];
/** In the place of a promise: a listener threw. */
const THREW = Object.freeze({});
/** Events of which the addon is told whether they have listeners. */
const NAMES = Object.keys(Interest).filter((name) => name !== 'request');

/**
 * Calls the listeners of a manager, each on its own: one that throws or rejects keeps neither the next one nor the
 * next event from its turn. Keeps the lists of the frequent events ready, so that a message costs no look-up.
 */
class Listeners {
  #manager;
  #consequences;
  #onInterest;
  #interest = 0;
  #connection = [];
  #message = [];
  #disconnect = [];
  #slow = [];
  #refused = [];
  #pong = [];
  #drain = [];
  /** A handler answers requests. */
  #answersRequests = false;
  /** Promises of the listeners that are being called, if somebody waits for them. */
  #answers = NONE;
  #unheard = new UnheardGaps();
  /** One function per event for rejections, so that a message allocates none. */
  #rejected = {};

  /**
   * @param consequences - what each state of the broker means: see `noticeOf`
   * @param onInterest - called with the bits of the events that have listeners, whenever those change
   */
  constructor(manager, consequences, onInterest) {
    this.#manager = manager;
    this.#consequences = consequences;
    this.#onInterest = onInterest;
    for (const name of [...NAMES, 'broker', 'missed']) {
      this.#rejected[name] = (thrown) => this.failed(name, thrown);
    }
  }

  /** Listeners of `name` came or went; of any event, if `name` is undefined. */
  refresh(name) {
    if (name === undefined) {
      for (const each of NAMES) this.#reload(each);
    } else if (NAMES.includes(name)) {
      this.#reload(name);
    } else {
      return;
    }
    this.#tell();
  }

  /** A handler of requests came or went. */
  answerRequests(isOn) {
    this.#answersRequests = isOn;
    this.#tell();
  }

  #tell() {
    let interest = this.#answersRequests ? Interest.request : 0;
    if (this.#connection.length > 0) interest |= Interest.connection;
    if (this.#message.length > 0) interest |= Interest.message;
    if (this.#disconnect.length > 0) interest |= Interest.disconnect;
    if (this.#slow.length > 0) interest |= Interest.slow;
    if (this.#refused.length > 0) interest |= Interest.refused;
    if (this.#pong.length > 0) interest |= Interest.pong;
    if (this.#drain.length > 0) interest |= Interest.drain;
    if (interest === this.#interest) return;
    this.#interest = interest;
    this.#onInterest(interest);
  }

  #reload(name) {
    // Raw, for `once` to take itself off; a copy, so that a list stays as it is while it is being called.
    const list = this.#manager.rawListeners(name);
    if (name === 'message') this.#message = list;
    else if (name === 'connection') this.#connection = list;
    else if (name === 'disconnect') this.#disconnect = list;
    else if (name === 'slow') this.#slow = list;
    else if (name === 'pong') this.#pong = list;
    else if (name === 'drain') this.#drain = list;
    else this.#refused = list;
  }

  /** `settled`, if it is given, is called once all listeners have returned, and what they returned is settled. */
  connection(connection, settled) {
    if (settled === undefined) {
      this.#callFor(connection, 'connection', this.#connection, 1);
      return;
    }
    const answers = this.#gather(() => this.#callFor(connection, 'connection', this.#connection, 1));
    if (answers.length === 0) settled();
    else Promise.allSettled(answers).then(settled);
  }

  message(connection, data, isBinary) {
    this.#callFor(connection, 'message', this.#message, 3, data, isBinary);
  }

  /** A message whose client waits. `settled` is called with what the client hears if not all listeners have taken it. */
  sent(connection, data, isBinary, info, settled) {
    const list = this.#message;
    const answers = this.#gather(() => this.#callFor(connection, 'message', list, 4, data, isBinary, info));
    // The last one was taken off when the message was on its way.
    if (list.length === 0) settled(UNHEARD);
    else if (answers.includes(THREW)) settled(FAILED);
    else if (answers.length === 0) settled();
    else {
      Promise.all(answers).then(
        () => settled(),
        () => settled(FAILED),
      );
    }
  }

  /** The results of the listeners that `call` calls. */
  #gather(call) {
    const before = this.#answers;
    const answers = [];
    this.#answers = answers;
    try {
      call();
    } finally {
      this.#answers = before;
    }
    return answers;
  }

  disconnect(connection, code, reason, by) {
    this.#callFor(connection, 'disconnect', this.#disconnect, 4, code, reason, by);
  }

  slow(connection, dropped) {
    this.#callFor(connection, 'slow', this.#slow, 2, dropped);
  }

  pong(connection, data) {
    this.#callFor(connection, 'pong', this.#pong, 2, data);
  }

  drain(connection) {
    this.#callFor(connection, 'drain', this.#drain, 1);
  }

  refused(refusal) {
    this.#call('refused', this.#refused, 1, refusal);
  }

  /** Trouble that nobody listens for becomes a process warning: messages may be lost, and somebody has to know. */
  broker(status) {
    const list = this.#manager.rawListeners('broker');
    if (list.length === 0) {
      const notice = noticeOf(status, this.#consequences);
      if (notice !== undefined) notify(...notice);
    }
    this.#call('broker', list, 1, status);
  }

  /** A gap that nobody listens for becomes a part of a process warning. */
  missed(missed) {
    const list = this.#manager.rawListeners('missed');
    if (list.length === 0) this.#unheard.add(missed);
    this.#call('missed', list, 1, missed);
  }

  /** Nothing comes any more. */
  end() {
    this.#unheard.tell();
  }

  /** Calls a handler of a channel's messages. */
  handler(channel, handler, message) {
    const failed = (thrown) => {
      const text = `A handler of channel ${JSON.stringify(channel)} failed: ${reasonOf(thrown)}`;
      this.error(failure(Error, 'ERR_LISTENER', text, thrown));
    };
    try {
      const answer = handler(message, channel);
      if (typeof answer?.then === 'function') answer.then(undefined, failed);
    } catch (thrown) {
      failed(thrown);
    }
  }

  /** Calls listeners in the asynchronous context of the connection's upgrade, if that had one. */
  #callFor(connection, name, list, arity, b, c, d) {
    const context = contextOf(connection);
    if (context === undefined) this.#call(name, list, arity, connection, b, c, d);
    else context.runInAsyncScope(this.#call, this, name, list, arity, connection, b, c, d);
  }

  /** With the number of arguments said, rather than gathered: a message shall allocate nothing here. */
  #call(name, list, arity, a, b, c, d) {
    const manager = this.#manager;
    for (let i = 0; i < list.length; i += 1) {
      try {
        const listener = list[i];
        const answer =
          arity === 3
            ? listener.call(manager, a, b, c)
            : arity === 1
              ? listener.call(manager, a)
              : arity === 2
                ? listener.call(manager, a, b)
                : listener.call(manager, a, b, c, d);
        if (typeof answer === 'object' && answer !== null && typeof answer.then === 'function') {
          // Once, for a lazy one, such as a query's, does its work each time.
          const promise = Promise.resolve(answer);
          promise.then(undefined, this.#rejected[name]);
          if (this.#answers !== NONE) this.#answers.push(promise);
        }
      } catch (thrown) {
        if (this.#answers !== NONE) this.#answers.push(THREW);
        this.failed(name, thrown);
      }
    }
  }

  /** A listener threw or rejected. */
  failed(name, thrown) {
    this.error(listenerError(name, thrown));
  }

  /** Gives an error to the listeners of 'error'; where there is none, or one fails, it becomes a process warning. */
  error(error) {
    const list = this.#manager.rawListeners('error');
    if (list.length === 0) warn(error);
    for (const listener of list) {
      try {
        const answer = listener.call(this.#manager, error);
        if (typeof answer?.then === 'function') answer.then(undefined, warnOfListener);
      } catch (thrown) {
        warnOfListener(thrown);
      }
    }
  }
}

module.exports = { Listeners };
