'use strict';

// Twelve managers on one server that has ten listeners of the application's for each of our events, as many as Node allows
// without a warning.

const http = require('node:http');
const { once } = require('node:events');
const { WebSocketManager } = require('../..');

const server = http.createServer();
const managers = [];
const add = () => {
  const name = `m${managers.length}`;
  managers.push(
    new WebSocketManager(server, { name, path: `/${name}`, auth: 'anonymous', redis: false, threads: 1 }),
  );
};

async function main() {
  for (let i = 0; i < 6; i += 1) add();
  for (let i = 0; i < 10; i += 1) server.on('upgrade', () => {});
  // The tenth is the one that waits below.
  for (let i = 0; i < 9; i += 1) server.on('close', () => {});
  for (let i = 0; i < 6; i += 1) add();
  console.log(`limit ${server.getMaxListeners()}`);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.close();
  // The last one tells all twelve.
  await once(server, 'close');
  await Promise.all(managers.map((manager) => manager.close()));
  console.log(`listeners ${server.listenerCount('upgrade')} ${server.listenerCount('close')}`);
  console.log(`limit ${server.getMaxListeners()}`);
}

main();
