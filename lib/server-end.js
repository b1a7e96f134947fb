'use strict';

const { subscribe, unsubscribe } = require('node:diagnostics_channel');
const { setTimeout } = require('node:timers/promises'); // not the global one, which tests fake
const { keepsAlive, setKeepsAlive } = require('./node-internals');

/** Node tells of each request of HTTP/1 here before the application sees it. A listener on the server would change HTTP/2's. */
const REQUEST = 'http.server.request.start';
/** Between two looks for connections that have become idle, once the server is closed. */
const LOOK_MS = 50;

/**
 * The end of an HTTP server. Node closes the idle connections that it reads requests from. Upgraded sockets that no manager has taken,
 * sessions of HTTP/2 and connections that say nothing hold the server for as long as their clients like. This knows all connections
 * that come once the server is wired, and ends those; earlier ones have to end by themselves.
 */
class ServerEnd {
  #server;
  #isEnding;
  #sockets = new Set();
  /** Of HTTP/2. */
  #sessions = new Set();
  /** Connection -> the answers of HTTP/1 that it has not been sent whole. */
  #answers = new Map();
  /** Connections that have had a request. */
  #known = new WeakSet();
  /** Answers that end their connections because this said so. */
  #final = new WeakSet();
  /** Connections without a request have been told to end. */
  #isTold = false;

  /** Has requests answered with `Connection: close` once `isEnding` says so: the next one then goes to another server. */
  constructor(server, isEnding) {
    this.#server = server;
    this.#isEnding = isEnding;
    subscribe(REQUEST, this.#onRequest);
    server.on('connection', this.#onSocket);
    server.on('secureConnection', this.#onSocket);
    server.on('session', this.#onSession);
  }

  /** Forgets the server. */
  release() {
    unsubscribe(REQUEST, this.#onRequest);
    this.#server.removeListener('connection', this.#onSocket);
    this.#server.removeListener('secureConnection', this.#onSocket);
    this.#server.removeListener('session', this.#onSession);
  }

  /** Closes the server. Resolves once the requests that are under way have been answered, and all connections are gone. */
  async close() {
    let isClosed = !this.#server.listening;
    if (!isClosed) {
      this.#sparing(() =>
        this.#server.close(() => {
          isClosed = true;
        }),
      );
    }
    this.#endIdle();
    while (!isClosed || this.#sockets.size > 0) {
      await setTimeout(LOOK_MS);
      this.#endIdle();
    }
  }

  /** Closes the server, and cuts off what is left: it answers nothing any more. */
  cut() {
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
    this.#server.closeAllConnections?.();
    // Last, as it may throw.
    if (this.#server.listening) this.#server.close();
  }

  #endIdle() {
    this.#sparing(() => this.#server.closeIdleConnections?.());
    for (const session of this.#sessions) session.close();
    if (this.#answers.size > 0 || this.#sessions.size > 0) return;
    for (const socket of this.#sockets) {
      if (this.#isTold) socket.destroy();
      // Not what TLS runs on, which is to pass on the last bytes.
      else if (socket.encrypted || !('setSecureContext' in this.#server)) socket.destroySoon();
    }
    this.#isTold = true;
  }

  /** Does `work`, in which Node ends idle connections: to it, one that has yet to be sent the rest of a complete answer is idle. */
  #sparing(work) {
    const busy = [...this.#answers.keys()].filter((socket) => !Object.hasOwn(socket, 'destroy'));
    for (const socket of busy) socket.destroy = () => socket;
    try {
      work();
    } finally {
      for (const socket of busy) delete socket.destroy;
    }
  }

  #onRequest = ({ server, response, socket }) => {
    if (server !== this.#server) return;
    const due = this.#dueOn(socket);
    due.add(response);
    response.once('close', () => {
      due.delete(response);
      if (due.size === 0) this.#answers.delete(socket);
    });
    if (!this.#isEnding()) return;
    // The last one that is under way ends the connection: those behind it would get no answer. Not by a header, for with one set
    // `writeHead` takes no list of pairs.
    for (const before of due) if (this.#final.delete(before)) setKeepsAlive(before, true);
    if (!keepsAlive(response)) return;
    setKeepsAlive(response, false);
    this.#final.add(response);
  };

  /** The answers that are due on a connection. */
  #dueOn(socket) {
    const found = this.#answers.get(socket);
    if (found !== undefined) return found;
    const due = new Set();
    this.#answers.set(socket, due);
    if (!this.#known.has(socket)) {
      this.#known.add(socket);
      // Answers that wait behind another one don't hear that their socket has closed.
      socket.once('close', () => this.#answers.delete(socket));
    }
    return due;
  }

  #onSocket = (socket) => {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  };

  #onSession = (session) => {
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
  };
}

module.exports = { ServerEnd };
