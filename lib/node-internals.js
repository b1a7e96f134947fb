'use strict';

// All that this package uses of Node and that Node does not document. scripts/node-internals.mjs keeps it out of every other file;
// __test__/node-internals.test.js holds each function against the real thing, and __test__/package/jest.test.mjs runs that on
// Node 20, 22, 24 and 26. "All releases" are these.

const { AsyncResource } = require('node:async_hooks');
const { EventEmitter } = require('node:events');
const http = require('node:http');

/**
 * The class of a socket's handle: `TCP`, `Pipe` (a Unix-domain socket), something else, or `undefined` without a handle.
 *
 * Touches `socket._handle`, in all releases. If it goes: every socket is bridged, and the address of a Unix-domain socket is empty.
 */
const handleKindOf = (socket) => socket._handle?.constructor?.name;

/**
 * The descriptor of a socket, or -1 if it has none.
 *
 * Touches `socket._handle.fd`, in all releases (-1 on Windows). If it goes: every socket is bridged.
 */
function descriptorOf(socket) {
  const fd = socket._handle?.fd;
  return Number.isInteger(fd) ? fd : -1;
}

/**
 * True if the socket under a TLS socket was destroyed. False for a socket with none under it.
 *
 * Touches `socket._parent`, in all releases. If it goes: a TLS connection whose socket others destroy ends with the next heartbeat.
 */
const isTransportDestroyed = (socket) => Boolean(socket._parent?.destroyed);

/**
 * The answer that Node writes to a socket now, or `undefined` if none is due.
 *
 * Touches `socket._httpMessage`, in all releases. If it goes: an upgrade that was sent behind an unanswered request is taken at once,
 * and the earlier answer gets lost.
 */
const dueAnswerOf = (socket) => socket._httpMessage ?? undefined;

/**
 * The HTTP server that a request has come by, or `undefined` if there is none.
 *
 * Touches `socket.server`, in all releases. If it goes: a request that came by a second server of a framework's is answered by the
 * first, and `maxHeadersCount` is taken to be the default.
 */
const serverOf = (req) => req.socket?.server;

/**
 * True if the connection is to go on after an answer.
 *
 * Touches `response.shouldKeepAlive`, in all releases. If it goes: a server that shuts down waits for its connections to be idle.
 */
const keepsAlive = (response) => Boolean(response.shouldKeepAlive);

/** Says whether the connection goes on after an answer, without a header: see `keepsAlive`. */
function setKeepsAlive(response, keeps) {
  response.shouldKeepAlive = keeps;
}

/**
 * A last answer to a request, on a socket that Node does not write answers to any more. It lets go of the socket once it is out.
 *
 * Touches `assignSocket` and `detachSocket` of `http.ServerResponse`, in all releases. If they go: this throws.
 */
function lastAnswerOn(socket, req) {
  const response = new http.ServerResponse(req);
  setKeepsAlive(response, false);
  response.assignSocket(socket);
  response.on('finish', () => response.detachSocket(socket));
  return response;
}

/** Node's own listener for connections, the same for all servers. */
const [onConnection] = new http.Server().listeners('connection');

/**
 * Has a server read requests from a socket, without an event `connection`. The function that it returns hands in bytes, ahead of those
 * that the socket has yet to read.
 *
 * Touches the listener that `http.Server` puts on itself, and the one for `data` that it puts on the socket, in all releases. If the
 * first goes: this throws. If the second goes: the request is not answered.
 */
function readRequests(server, socket) {
  onConnection.call(server, socket);
  return (bytes) => socket.emit('data', bytes);
}

/**
 * The name of the server's function that Node asks whether a request is an upgrade; `undefined` where Node has no such function.
 *
 * Touches `server.shouldUpgradeCallback`: since 22.21 and 24.9, where only the option of `createServer` is documented. If it goes:
 * Node is taken to ask `listenerCount`, as before.
 */
const upgradeQuestionOf = (server) =>
  'shouldUpgradeCallback' in server ? 'shouldUpgradeCallback' : undefined;

/**
 * Does `work`, with "no" for an answer when Node asks whether the request that is read by it is an upgrade.
 *
 * Touches the function of `upgradeQuestionOf`, or `server.listenerCount('upgrade')`, which earlier releases ask. If Node asks neither:
 * the request comes back as an upgrade.
 */
function withoutUpgrade(server, work) {
  const name = upgradeQuestionOf(server) ?? 'listenerCount';
  const own = Object.getOwnPropertyDescriptor(server, name);
  let isRestored = false;
  const restore = () => {
    if (isRestored) return;
    isRestored = true;
    if (own === undefined) delete server[name];
    else Object.defineProperty(server, name, own);
  };
  const answer = (event, ...rest) => {
    if (name === 'listenerCount' && event !== 'upgrade') {
      return EventEmitter.prototype.listenerCount.call(server, event, ...rest);
    }
    // The handler, and requests that follow at once, find the server as it was.
    restore();
    return 0;
  };
  Object.defineProperty(server, name, { value: answer, configurable: true, writable: true });
  try {
    work();
  } finally {
    restore();
  }
}

/** The symbols under which every AsyncResource has its numbers. */
const NUMBERS = (() => {
  const resource = new AsyncResource('ActoryWebSocket', { requireManualDestroy: true });
  resource.emitDestroy();
  return Object.getOwnPropertySymbols(resource).filter(
    (symbol) => typeof resource[symbol] === 'number' && /async_?id/i.test(symbol.description),
  );
})();

/**
 * True if an AsyncResource that was made with `requireManualDestroy` carries the value of an AsyncLocalStorage. It may also carry a
 * frame without one: since 24, `run` leaves such a frame for the rest of the turn.
 *
 * Touches the symbols of the resource, in all releases: one per AsyncLocalStorage, or (24; 22 behind a flag) one for a frame of all
 * values. All else under symbols is numbers, and a note for the garbage collector, which `requireManualDestroy` leaves out. If they go:
 * listeners of a connection run in the context of the manager, not of the upgrade.
 */
function carriesContext(resource) {
  for (const symbol of Object.getOwnPropertySymbols(resource)) {
    if (resource[symbol] !== undefined && !NUMBERS.includes(symbol)) return true;
  }
  return false;
}

/**
 * Runs microtasks and `process.nextTick`, as Node does between two of its own callbacks; about 20 ns where there is nothing to run.
 *
 * Touches `process._tickCallback`, in all releases, which Node's timers call. If it goes: they run at the end of a batch of events.
 */
const runMicrotasks = typeof process._tickCallback === 'function' ? process._tickCallback : () => {};

module.exports = {
  carriesContext,
  descriptorOf,
  dueAnswerOf,
  handleKindOf,
  isTransportDestroyed,
  keepsAlive,
  lastAnswerOn,
  readRequests,
  runMicrotasks,
  serverOf,
  setKeepsAlive,
  upgradeQuestionOf,
  withoutUpgrade,
};
