'use strict';

const http = require('node:http');
const { once } = require('node:events');
const { WebSocketManager } = require('../..');
const { closeAfterwards } = require('./cleanup');
const { connect, refused } = require('./client');

/** Has a server listen on a port of its own, or on `path`. */
async function listening(server, path) {
  server.listen(path ?? 0, path === undefined ? '127.0.0.1' : undefined);
  await once(server, 'listening');
  closeAfterwards(async () => {
    if (!server.listening) return;
    server.closeAllConnections?.();
    server.close();
    await once(server, 'close');
  });
  return server;
}

/** A manager that is closed after the test. `auth` is 'anonymous' and there is no Redis unless said otherwise. */
function manage(server, options = {}) {
  const manager = new WebSocketManager(server, { auth: 'anonymous', redis: false, ...options });
  closeAfterwards(() => manager.close());
  return manager;
}

/** A listening HTTP server with a manager, and clients for it. */
async function host(options, server = http.createServer()) {
  const manager = manage(server, options);
  await listening(server);
  const { port } = server.address();
  const url = `ws://127.0.0.1:${port}/api/websocket`;
  return {
    server,
    manager,
    port,
    url,
    connect: (clientOptions, target = url) => connect(target, clientOptions),
    refused: (clientOptions, target = url) => refused(target, clientOptions),
    /** A client together with its connection object. */
    async pair(clientOptions, target = url) {
      const met = once(manager, 'connection');
      const [client, [connection]] = await Promise.all([connect(target, clientOptions), met]);
      return { client, connection };
    },
  };
}

/** An `authenticate` that never answers, and when it was asked. */
function silent() {
  let asked;
  const asking = new Promise((resolve) => {
    asked = resolve;
  });
  const authenticate = () => {
    asked();
    return new Promise(() => {});
  };
  return { authenticate, asking };
}

module.exports = { host, manage, listening, silent };
