'use strict';

const { subscribe, unsubscribe } = require('node:diagnostics_channel');
const { setTimeout } = require('node:timers/promises'); // not the global one, which tests fake

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
  /** Requests of HTTP/1 whose answers are not through. */
  #requests = 0;
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
      this.#server.close(() => {
        isClosed = true;
      });
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
    this.#server.closeIdleConnections?.();
    for (const session of this.#sessions) session.close();
    if (this.#requests > 0 || this.#sessions.size > 0) return;
    for (const socket of this.#sockets) {
      if (this.#isTold) socket.destroy();
      // Not what TLS runs on, which is to pass on the last bytes.
      else if (socket.encrypted || !('setSecureContext' in this.#server)) socket.destroySoon();
    }
    this.#isTold = true;
  }

  #onRequest = ({ server, response }) => {
    if (server !== this.#server) return;
    this.#requests += 1;
    response.once('close', () => {
      this.#requests -= 1;
    });
    if (this.#isEnding()) response.setHeader('Connection', 'close');
  };

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
