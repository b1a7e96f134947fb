'use strict';

// Two copies of the whole package, addon and all, in one process: as where a bundler, or a nested node_modules, has
// brought a second one. COPY is the folder of the second one.

const http = require('node:http');
const { once } = require('node:events');
const { WebSocket } = require('ws');
const first = require('../..');

const second = require(process.env.COPY);

async function main() {
  const server = http.createServer();
  const manager = new first.WebSocketManager(server, {
    auth: { authenticate: () => ({ userId: 'ada' }) },
    redis: false,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}/api/websocket`);
  const message = once(socket, 'message');
  await once(socket, 'open');

  const found = second.getWebSocketManager();
  console.log(second.WebSocketManager === first.WebSocketManager ? 'one copy' : 'two copies');
  console.log(found === manager ? 'one manager' : 'two managers');
  const { local } = await found.sendToUser('ada', 'hello');
  console.log(`${local} connection got ${(await message)[0]}`);
  try {
    new second.WebSocketManager(server, { auth: 'anonymous', redis: false });
  } catch ({ code }) {
    console.log(code);
  }
  socket.terminate();
  server.close();
}

main();
