'use strict';

// A server with two managers that ends as shutdownOnSignals() has it, with the options in OPTIONS. Says what happens to it.

const { once } = require('node:events');
const http = require('node:http');
const { WebSocketManager, shutdownOnSignals } = require('../..');

const options = JSON.parse(process.env.OPTIONS ?? '{}');
const routes = {
  '/': (res) => res.end(String(shutdown.started)),
  '/events': (res) => res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n'),
  // Answered once the clients are gone.
  '/late': async (res) => {
    res.writeHead(200).write('first');
    await Promise.all(managers.map((manager) => manager.close()));
    setTimeout(() => res.end(' last'), 100);
  },
};
const server = http.createServer((req, res) => routes[req.url](res));
const managers = ['/one', '/two'].map(
  (path) => new WebSocketManager(server, { name: path, path, auth: 'anonymous', redis: false }),
);
const onClosed = () => {
  console.log('closed', managers.map((manager) => manager.connections.size).join(), server.listening);
  if (process.env.THEN === 'hang') return new Promise(() => {});
  if (process.env.THEN === 'throw') throw new Error('the database');
};
const shutdown = shutdownOnSignals(server, { onClosed, ...options });
process.on('exit', () => console.log('exit'));
if (process.env.THEN === 'unwire') shutdown.unwire();
if (process.env.THEN === 'start') process.stdin.once('data', () => shutdown.start());
if (process.env.THEN === 'twice' && shutdownOnSignals([server], { onClosed }) !== shutdown) throw new Error();
once(server.listen(0, '127.0.0.1'), 'listening').then(() => console.log(server.address().port));
