'use strict';

// A server that opens files all the time, and tells how often that failed. For a process with few descriptors.

const fs = require('node:fs');
const http = require('node:http');
const { once } = require('node:events');
const { WebSocketManager } = require('../..');

const server = http.createServer();
const { jwt, rejectWith, maxConnections } = JSON.parse(process.env.OPTIONS);
const manager = new WebSocketManager(server, {
  auth: { jwt },
  redis: false,
  rejectWith,
  threads: 2,
  limits: { maxConnections, closeTimeoutMs: 600_000 },
});
const failures = {};
const fail = ({ code }) => {
  failures[code] = (failures[code] ?? 0) + 1;
};
manager.on('error', fail);

setInterval(() => {
  const files = [];
  try {
    for (let i = 0; i < 5; i += 1) files.push(fs.openSync(__filename));
  } catch (error) {
    fail(error);
  }
  for (const file of files) fs.closeSync(file);
}, 5);

process.stdin.on('data', () => console.log(JSON.stringify(failures)));

server.listen(0, '127.0.0.1');
once(server, 'listening').then(() => console.log(server.address().port));
