'use strict';

const { join } = require('node:path');
const { failure } = require('../lib/error');
const real = require('./real');

const OPEN = 1;

/** Node's class; before Node 22, that of npm's `ws`, of this package's surroundings or of the application's. */
function defaultClass() {
  if (real.WebSocket !== undefined) return real.WebSocket;
  for (const file of [__filename, join(process.cwd(), 'package.json')]) {
    try {
      return real.createRequire(file)('ws').WebSocket;
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw failure(
    TypeError,
    'ERR_INVALID_OPTION',
    'connect() needs a WebSocket class, which Node has from 22 on: npm install --save-dev ws, or give it the option "WebSocket"',
  );
}

/** Resolves when a connection has ended. */
function endOf(socket) {
  return new Promise((resolve) => {
    // `WebSocketLike` has no more than the client needs.
    if (typeof socket.addEventListener !== 'function') return resolve();
    socket.addEventListener('close', resolve);
    socket.addEventListener('error', () => {
      // That of Node 22 says no `close` when the server refuses it or is away, nor when it is closed before it is open.
      if (socket.readyState !== OPEN) resolve();
    });
  });
}

/** Connections of clients, to be waited for. */
class Sockets {
  #open = new Set();

  /** The class, of which each object is counted. What is no class is left to the client to refuse. */
  counted(Socket = defaultClass()) {
    if (typeof Socket !== 'function') return Socket;
    const open = this.#open;
    return class extends Socket {
      constructor(...args) {
        super(...args);
        const ended = endOf(this);
        open.add(ended);
        ended.then(() => open.delete(ended));
      }
    };
  }

  /** Resolves when all have ended. */
  async ended() {
    await Promise.all(this.#open);
  }
}

module.exports = { Sockets };
