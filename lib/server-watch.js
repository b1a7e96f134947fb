'use strict';

const { clearInterval, setInterval } = require('node:timers'); // not the global ones, which tests fake

/** Interval of looks at a server with bridged sockets, in milliseconds. */
const LOOK_MS = 500;

/**
 * Notices that a server with bridged sockets closes. It says so itself once its last socket is closed, and those are among
 * its sockets, so that it would never come to that: while there are such, the server is looked at instead.
 */
class ServerWatch {
  #server;
  #onClose;
  #timer;

  constructor(server, onClose) {
    this.#server = server;
    this.#onClose = onClose;
  }

  /** A socket has been bridged. */
  bridged() {
    if (this.#timer !== undefined || !this.#server.listening) return;
    this.#timer = setInterval(() => {
      if (!this.#server.listening) this.#onClose();
    }, LOOK_MS);
    this.#timer.unref();
  }

  stop() {
    clearInterval(this.#timer);
  }
}

module.exports = { ServerWatch };
