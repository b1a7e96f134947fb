'use strict';

// A server whose Redis REDIS_URL names, and which nobody listens to. Prints its URL once it has found that Redis, and
// the code of every warning; ends with its standard input.

const http = require('node:http');
const { WebSocketManager } = require('../..');
const { byQuery } = require('../support/identity');

process.on('warning', ({ code }) => console.log(`warning ${code}`));
const server = http.createServer();
const manager = new WebSocketManager(server, { auth: byQuery, redis: { graceMs: 0 } });
process.stdin.on('close', () => server.close()).resume();

server.listen(0, '127.0.0.1', async () => {
  await manager.ready();
  console.log(`ws://127.0.0.1:${server.address().port}/api/websocket`);
});
