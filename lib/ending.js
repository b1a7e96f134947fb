'use strict';

const { constants } = require('node:os');
const { performance } = require('node:perf_hooks');
const { setImmediate } = require('node:timers'); // not the global ones, which tests fake
const { setTimeout } = require('node:timers/promises');
const { reasonOf } = require('./error');
const { ServerEnd } = require('./server-end');
const { notify } = require('./warning');

/** Requests that never end, such as server-sent events, are cut off so long before the deadline: `onClosed` has the rest. */
const LAST_MS = 1000;
/** A repetition that comes sooner is the same signal twice: from the terminal, and once more from npm. */
const ECHO_MS = 500;

/** Code of the warning that something went wrong at the end. */
const SHUTDOWN = 'ACTORY_WS_SHUTDOWN';

/** Gives a map those keys, and no others. `begin` makes the value of a new one, `end` is told of one that goes. */
function keep(map, keys, begin, end) {
  for (const [key, value] of map) {
    if (keys.has(key)) continue;
    map.delete(key);
    end(key, value);
  }
  for (const key of keys) if (!map.has(key)) map.set(key, begin(key));
}

/** The end of the process, for all calls of `shutdownOnSignals` together: one in a process, in its registry. */
class Ending {
  /** Those of the registry. */
  #managers;
  #calls = new Set();
  /** Signal -> its listener. */
  #signals = new Map();
  /** HTTP server -> its end. */
  #servers = new Map();
  #startedAt;
  /** Steps that have begun and not ended. */
  #pending = new Set();
  #hasFailed = false;

  constructor(managers) {
    this.#managers = managers;
  }

  get started() {
    return this.#startedAt !== undefined;
  }

  /** @param {{servers: object[], signals: string[], drainMs: number, deadlineMs: number, onClosed?: () => unknown}} call */
  add(call) {
    this.#calls.add(call);
    this.#wire();
  }

  remove(call) {
    if (this.started) return;
    this.#calls.delete(call);
    this.#wire();
  }

  /** Also for a call that was taken back. */
  start(call) {
    if (this.started) return;
    this.add(call);
    this.#begin();
  }

  #begin() {
    this.#startedAt = performance.now();
    const longest = (name) => Math.max(...[...this.#calls].map((call) => call[name]));
    const drainMs = longest('drainMs');
    const deadlineMs = longest('deadlineMs');
    // Referenced: nothing that is left, or that is not, keeps the process for longer.
    setTimeout(deadlineMs).then(() => this.#giveUp(deadlineMs));
    this.#run(drainMs, deadlineMs);
  }

  /** Listens to what the calls name. */
  #wire() {
    const calls = [...this.#calls];
    keep(
      this.#signals,
      new Set(calls.flatMap(({ signals }) => signals)),
      (signal) => {
        const listener = () => this.#onSignal(signal);
        process.on(signal, listener);
        return listener;
      },
      (signal, listener) => process.off(signal, listener),
    );
    keep(
      this.#servers,
      new Set(calls.flatMap(({ servers }) => servers)),
      (server) => new ServerEnd(server, () => this.started),
      (_server, end) => end.release(),
    );
  }

  #onSignal(signal) {
    if (!this.started) this.#begin();
    else if (performance.now() - this.#startedAt > ECHO_MS) process.exit(128 + constants.signals[signal]);
  }

  async #run(drainMs, deadlineMs) {
    const late = setTimeout(Math.max(deadlineMs - LAST_MS, (drainMs + deadlineMs) / 2));
    await Promise.race([this.#close(drainMs), late]);
    await this.#each(this.#servers.values(), 'an HTTP server', (end) => end.cut());
    const calls = [...this.#calls].filter(({ onClosed }) => onClosed !== undefined);
    await this.#each(calls, 'onClosed', ({ onClosed }) => onClosed());
    this.#exit();
  }

  /** Clients first, while pages are still served: who comes back goes to another server, and so does the balancer. */
  async #close(drainMs) {
    await this.#each(this.#managers.values(), 'a WebSocketManager', (manager) => manager.close({ drainMs }));
    await this.#each(this.#servers.values(), 'an HTTP server', (end) => end.close());
  }

  /** Does a step with each of several, at the same time. One that fails is told of, and stops no other. */
  async #each(all, what, step) {
    const attempt = async (one) => {
      this.#pending.add(what);
      try {
        await step(one);
      } catch (error) {
        this.#hasFailed = true;
        notify(SHUTDOWN, `The shutdown failed at ${what}: ${reasonOf(error)}`);
      }
    };
    await Promise.all([...all].map(attempt));
    this.#pending.delete(what);
  }

  #giveUp(deadlineMs) {
    this.#hasFailed = true;
    const left = [...this.#pending].join(', ');
    notify(SHUTDOWN, `The process exits at its deadline (${deadlineMs} ms), for this has not ended: ${left}`);
    this.#exit();
  }

  #exit() {
    if (this.#hasFailed) process.exitCode ||= 1;
    // Warnings are written in the next turn.
    setImmediate(() => process.exit());
  }
}

module.exports = { Ending };
