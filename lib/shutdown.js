'use strict';

const { constants } = require('node:os');
const { toOptions, toWait } = require('./argument');
const { argOutOfRange, invalidArg } = require('./error');
const { registry } = require('./registry');
const { checkServer } = require('./upgrade');

const KNOWN = ['signals', 'drainMs', 'deadlineMs', 'onClosed'];
/** Signals that end the process: Kubernetes, systemd and Docker send the first, pm2 and Ctrl+C the second. */
const SIGNALS = ['SIGTERM', 'SIGINT'];
/** Those that no process can listen to. */
const DEAF = ['SIGKILL', 'SIGSTOP'];
const DRAIN_MS = 1000;
/** From the end of the drain to the deadline: the 5 s of `limits.closeTimeoutMs`, and what `onClosed` has at the end. */
const AFTER_DRAIN_MS = 6000;

/** One call of `shutdownOnSignals`. Documented in index.d.ts. */
class Shutdown {
  #ending = registry().ending;
  #call;

  constructor(call) {
    this.#call = call;
    this.#ending.add(call);
  }

  get started() {
    return this.#ending.started;
  }

  start() {
    this.#ending.start(this.#call);
  }

  unwire() {
    this.#ending.remove(this.#call);
  }
}

if (Symbol.dispose !== undefined) {
  Shutdown.prototype[Symbol.dispose] = function dispose() {
    this.unwire();
  };
}

function toSignals(value = SIGNALS) {
  if (!Array.isArray(value)) throw invalidArg('options.signals', 'an array of signals', value);
  return Array.from(value, (signal, i) => {
    const name = `options.signals[${i}]`;
    if (typeof signal !== 'string') throw invalidArg(name, 'the name of a signal', signal);
    if (!Object.hasOwn(constants.signals, signal) || DEAF.includes(signal)) {
      throw argOutOfRange(name, "a signal that a process can listen to, such as 'SIGTERM'", signal);
    }
    return signal;
  });
}

/** The options, complete. */
function toShutdownOptions(value) {
  const { signals, drainMs, deadlineMs, onClosed } = toOptions(value, KNOWN);
  if (onClosed !== undefined && typeof onClosed !== 'function') {
    throw invalidArg('options.onClosed', 'a function', onClosed);
  }
  const drain = toWait(drainMs, DRAIN_MS, 'options.drainMs');
  const deadline = toWait(deadlineMs, drain + AFTER_DRAIN_MS, 'options.deadlineMs');
  if (deadline < drain) throw argOutOfRange('options.deadlineMs', `at least drainMs (${drain})`, deadline);
  return { signals: toSignals(signals), drainMs: drain, deadlineMs: deadline, onClosed };
}

/** The servers of the first argument. */
function toServers(value) {
  if (value === null) return [];
  const servers = Array.isArray(value) ? [...value] : [value];
  for (const server of servers) checkServer(server);
  return servers;
}

/** Wires the end of this process to its signals. Documented in index.d.ts. */
function shutdownOnSignals(server, options) {
  return new Shutdown({ servers: toServers(server), ...toShutdownOptions(options) });
}

module.exports = { shutdownOnSignals };
