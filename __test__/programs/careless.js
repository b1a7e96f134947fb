'use strict';

// Listeners that throw, promises that nobody awaits, and no 'error' listener.

const http = require('node:http');
const { once } = require('node:events');
const WebSocket = require('ws');
const { WebSocketManager } = require('../..');

const server = http.createServer();
const manager = new WebSocketManager(server, { auth: 'anonymous', redis: false });

manager.on('connection', () => {
  throw new Error('from connection');
});
manager.on('message', async () => {
  manager.broadcast(undefined);
  manager.sendToUser(null, 'x');
  manager.close({ drain: 1 });
  manager.handleUpgrade();
  if (process.env.TICK) {
    process.nextTick(() => {
      throw new Error('from a tick');
    });
  }
  throw new Error('from message');
});
manager.on('disconnect', () => {
  throw new Error('from disconnect');
});
process.on('unhandledRejection', (error) => {
  console.error('unhandled', error);
  process.exit(9);
});

server.listen(0, '127.0.0.1', async () => {
  const client = new WebSocket(`ws://127.0.0.1:${server.address().port}/api/websocket`);
  await once(client, 'open');
  client.send('1');
  client.close();
  await new Promise((resolve) => manager.once('disconnect', resolve));
  await new Promise(setImmediate);
  console.log('alive');
  server.close();
});
