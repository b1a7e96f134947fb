'use strict';

const { once } = require('node:events');
const { createServer } = require('node:http');
const { failure } = require('../lib/error');

/** Answers requests that are no upgrades of the manager's. */
const notFound = (_request, response) => response.writeHead(404).end();

/** An HTTP server of a test, its own or the application's. */
class Host {
  #sockets = new Set();
  #count = (socket) => {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  };

  constructor(server = createServer(notFound)) {
    this.server = server;
  }

  /** Has the server listen on a free port of this machine, unless it listens already. */
  async listen() {
    const { server } = this;
    server.on('connection', this.#count);
    if (server.listening) return;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }

  /** The URL of a path. */
  url(path) {
    const address = this.server.address();
    if (address === null || typeof address === 'string') {
      throw failure(
        TypeError,
        'ERR_INVALID_SERVER',
        `"server" must listen on a port, or not yet; it does on ${address}`,
      );
    }
    // Of all addresses, the server has that of this machine.
    const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[address.address] ?? address.address;
    const isTls = typeof this.server.setSecureContext === 'function';
    return `${isTls ? 'wss' : 'ws'}://${host.includes(':') ? `[${host}]` : host}:${address.port}${path}`;
  }

  /** Ends the server and all of its connections. */
  async close() {
    const { server } = this;
    server.off('connection', this.#count);
    const closed = server.listening ? once(server, 'close') : undefined;
    server.close();
    server.closeAllConnections?.();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

module.exports = { Host };
