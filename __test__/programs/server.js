'use strict';

// A server with a client of its own that doesn't go by itself. THEN says how it ends.

const http = require('node:http');
const { once } = require('node:events');
const WebSocket = require('ws');
const { WebSocketManager } = require('../..');

const { THEN } = process.env;
const server = http.createServer();
new WebSocketManager(server, { auth: 'anonymous', redis: false });
if (THEN !== 'die') process.once('SIGTERM', () => server.close());

server.listen(0, '127.0.0.1', async () => {
  const client = new WebSocket(`ws://127.0.0.1:${server.address().port}/api/websocket`);
  client.on('close', (code) => console.log(`client closed ${code}`));
  await once(client, 'open');
  if (THEN === 'close') server.close();
  else console.log('ready');
  if (THEN === 'exit') process.exit(3);
});
