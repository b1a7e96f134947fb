'use strict';

const { constants } = require('node:os');
const { setTimeout } = require('node:timers/promises');
const { toOptions, toWait } = require('./argument');
const { invalidArg, reasonOf } = require('./error');
const { registry } = require('./registry');
const { checkServer } = require('./upgrade');
const { notify } = require('./warning');

const KNOWN = ['signals', 'drainMs', 'deadlineMs', 'onClosed'];
/** What gets the process to end: Kubernetes, systemd and Docker send the first, pm2 and Ctrl+C the second. */
const SIGNALS = ['SIGTERM', 'SIGINT'];
/** Fits into the 1.6 s that pm2 gives a process by default. */
const DRAIN_MS = 1000;
/** From the end of the drain to the deadline: the 5 s of `limits.closeTimeoutMs`, and what `onClosed` has at the end. */
const AFTER_DRAIN_MS = 6000;
/** What is left for `onClosed`, if there is so much, when requests that never end, such as server-sent events, are cut off. */
const LAST_MS = 1000;
/** A repetition that comes sooner is the same signal twice: from the terminal, and once more from npm. */
const ECHO_MS = 500;
/** How often connections that have become idle are looked for, once the server is closed. */
const LOOK_MS = 50;

/** Code of the warning that something went wrong at the end. */
const SHUTDOWN = 'ACTORY_WS_SHUTDOWN';

/** The one of this process, or `undefined`. */
let current;

/** What ends the process in order. Documented in index.d.ts. */
class Shutdown {
  #servers = new Set();
  #options;
  /** The listener of each signal that is wired. */
  #signals = new Map();
  #startedAt;

  get started() {
    return this.#startedAt !== undefined;
  }

  start() {
    if (this.started) return;
    this.#startedAt = performance.now();
    // Referenced: nothing that is left, or that is not, keeps the process for longer.
    setTimeout(this.#options.deadlineMs).then(() => process.exit());
    this.#run().catch((error) => {
      notify(SHUTDOWN, `The shutdown failed: ${reasonOf(error)}`);
      // Warnings are written in the next turn.
      setImmediate(() => process.exit(1));
    });
  }

  unwire() {
    for (const [signal, listener] of this.#signals) process.off(signal, listener);
    this.#signals.clear();
    if (current === this) current = undefined;
  }

  /** Takes more servers, and options in place of those from before. */
  wire(servers, options) {
    for (const server of servers) this.#servers.add(server);
    this.#options = options;
    for (const [signal, listener] of this.#signals) {
      if (!options.signals.includes(signal)) {
        process.off(signal, listener);
        this.#signals.delete(signal);
      }
    }
    for (const signal of options.signals) {
      if (this.#signals.has(signal)) continue;
      const listener = () => this.#onSignal(signal);
      process.on(signal, listener);
      this.#signals.set(signal, listener);
    }
  }

  #onSignal(signal) {
    if (!this.started) this.start();
    else if (performance.now() - this.#startedAt > ECHO_MS) process.exit(128 + constants.signals[signal]);
  }

  async #run() {
    const { deadlineMs, onClosed } = this.#options;
    const late = setTimeout(Math.max(deadlineMs - LAST_MS, deadlineMs / 2));
    await Promise.race([this.#close(), late]);
    for (const server of this.#servers) server.closeAllConnections?.();
    await onClosed?.();
    process.exit();
  }

  /** Clients first, while pages are still served: who comes back goes to another server, and so does the balancer. */
  async #close() {
    const { drainMs } = this.#options;
    for (const server of this.#servers) server.prependListener('request', endConnection);
    await Promise.all([...registry().managers.values()].map((manager) => manager.close({ drainMs })));
    await Promise.all([...this.#servers].map(closeServer));
  }
}

if (Symbol.dispose !== undefined) {
  Shutdown.prototype[Symbol.dispose] = function dispose() {
    this.unwire();
  };
}

/** Has a client on a connection that is kept alive make a new one, of another server's. HTTP/2 has no such header. */
function endConnection(req, res) {
  if (req.httpVersionMajor < 2) res.setHeader('Connection', 'close');
}

/** Resolves once the requests that are under way have been answered. */
function closeServer(server) {
  if (!server.listening) return Promise.resolve();
  return new Promise((resolve) => {
    // Node closes the connections that are idle now, and leaves out those that become so after.
    const timer = setInterval(() => server.closeIdleConnections?.(), LOOK_MS);
    server.close(() => {
      clearInterval(timer);
      resolve();
    });
  });
}

function toSignals(value = SIGNALS) {
  if (!Array.isArray(value) || !value.every((signal) => Object.hasOwn(constants.signals, signal))) {
    throw invalidArg('options.signals', "an array of signals, such as ['SIGTERM', 'SIGINT']", value);
  }
  return value;
}

/** The options, complete. */
function toShutdownOptions(value) {
  const { signals, drainMs, deadlineMs, onClosed } = toOptions(value, KNOWN);
  if (onClosed !== undefined && typeof onClosed !== 'function') {
    throw invalidArg('options.onClosed', 'a function', onClosed);
  }
  const drain = toWait(drainMs, DRAIN_MS, 'options.drainMs');
  return {
    signals: toSignals(signals),
    drainMs: drain,
    deadlineMs: toWait(deadlineMs, drain + AFTER_DRAIN_MS, 'options.deadlineMs'),
    onClosed,
  };
}

/** Wires the end of this process to its signals. Documented in index.d.ts. */
function shutdownOnSignals(server, options) {
  const servers = Array.isArray(server) ? server : [server];
  for (const each of servers) checkServer(each);
  const complete = toShutdownOptions(options);
  current ??= new Shutdown();
  current.wire(servers, complete);
  return current;
}

module.exports = { shutdownOnSignals };
