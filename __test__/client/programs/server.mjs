// A server of its own, to be killed: tells its port, and puts each connection into a room after a while.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { setTimeout } from 'node:timers/promises';

const require = createRequire(import.meta.url);
const { WebSocketManager } = require('../../..');
const { byQuery } = require('../../support/identity');

const server = createServer();
const manager = new WebSocketManager(server, {
  auth: byQuery,
  history: true,
  redis: { url: process.argv[2] },
});
manager.on('error', () => {});
manager.on('connection', async (connection) => {
  await setTimeout(50);
  connection.join('tea');
});
await manager.ready();
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.on('disconnect', () => process.exit());
