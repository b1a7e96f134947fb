'use strict';

// A server behind a load balancer, as deploy/README.md has it. Prints its port. Says who it is to every request, and
// to every connection also what address that has.

const http = require('node:http');
const { WebSocketManager, shutdownOnSignals } = require('../..');

const { NAME, MAX_CONNECTIONS } = process.env;

const server = http.createServer((req, res) => {
  if (req.url === '/api/health') res.writeHead(shutdown.started ? 503 : 200).end();
  else res.end(NAME);
});
const manager = new WebSocketManager(server, {
  auth: 'anonymous',
  redis: false,
  relay: false,
  limits: { maxConnections: MAX_CONNECTIONS && Number(MAX_CONNECTIONS) },
  trustProxy: ['127.0.0.1'],
});
manager.on('connection', (connection) => {
  connection.send({ server: NAME, address: connection.remoteAddress });
});
manager.on('message', (connection, data) => connection.send(data));

const shutdown = shutdownOnSignals(server, { drainMs: 200 });

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
