'use strict';

/** How often a server with bridged sockets is looked at, in milliseconds. */
const LOOK_MS = 500;

/**
 * Notices that a server closes. It says so itself once its last socket is closed; the sockets that are bridged count
 * among those, so that it would never come to that: while there are such, the server is looked at instead.
 */
class ServerWatch {
  #server;
  #onClose;
  #timer;

  constructor(onClose) {
    this.#onClose = onClose;
  }

  start(server) {
    server.on('close', this.#onClose);
    this.#server = server;
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
    this.#server.removeListener('close', this.#onClose);
  }
}

module.exports = { ServerWatch };
