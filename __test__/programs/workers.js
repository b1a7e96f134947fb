'use strict';

// A manager in the main thread and one of the same name in a worker.

const http = require('node:http');
const { once } = require('node:events');
const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const WebSocket = require('ws');
const { WebSocketManager } = require('../..');

async function serve() {
  const server = http.createServer();
  const manager = new WebSocketManager(server, { auth: 'anonymous', redis: false, relay: false });
  manager.on('message', (connection, data) => connection.send(data));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function echo({ port }) {
  const client = new WebSocket(`ws://127.0.0.1:${port}/api/websocket`);
  await once(client, 'open');
  client.send('x');
  await once(client, 'message');
  return client;
}

async function main() {
  const server = await serve();
  const worker = new Worker(__filename);
  const [address] = await once(worker, 'message');
  const orphan = await echo(address);
  console.log('worker echoed');
  await echo(server.address());
  console.log('main echoed');
  // The worker goes with its connections; nobody has told its manager.
  const cut = once(orphan, 'close');
  await worker.terminate();
  await cut;
  await echo(server.address());
  console.log('worker left, main echoed');
  server.close();
}

if (isMainThread) main();
else serve().then((server) => parentPort.postMessage(server.address()));
