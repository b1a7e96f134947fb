'use strict';

// A server with two managers that ends as shutdownOnSignals() has it, with the options in OPTIONS. Says what happens to it. SERVER is
// the kind of server, THEN what is special.

const { once } = require('node:events');
const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');
const { WebSocketServer } = require('ws');
const { WebSocketManager, shutdownOnSignals } = require('../..');

const { OPTIONS = '{}', SERVER = 'http', THEN, TLS = '{}' } = process.env;
const options = JSON.parse(OPTIONS);
const routes = {
  '/': (res) => res.end(String(shutdown.started)),
  '/events': (res) => res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n'),
  '/large': (res) => res.end(Buffer.alloc(30e6)),
  '/pairs': (res) => res.writeHead(200, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']).end('pairs'),
  '/never': () => {},
  '/soon': (res) => setTimeout(() => res.end('soon'), 50),
  // Answered once the clients are gone.
  '/late': async (res) => {
    res.writeHead(200).write('first');
    await Promise.all(managers.map((manager) => manager.close()));
    setTimeout(() => res.end(' last'), 100);
  },
};
const answer = (req, res) => routes[req.url](res);
const server = {
  http: () => http.createServer(answer),
  https: () => https.createServer(JSON.parse(TLS), answer),
  http2: () => http2.createServer(answer),
}[SERVER]();
const managers = ['/one', '/two'].map(
  (path) => new WebSocketManager(server, { name: path, path, auth: 'anonymous', redis: false }),
);
const theirs = new WebSocketServer({ noServer: true });
server.on('upgrade', (req, socket, head) => {
  if (req.url === '/theirs') theirs.handleUpgrade(req, socket, head, () => {});
});
const onClosed = () => {
  console.log('closed', managers.map((manager) => manager.connections.size).join(), server.listening);
  if (THEN === 'hang') return new Promise(() => {});
  if (THEN === 'throw') throw new Error('the database');
};
const shutdown = shutdownOnSignals(THEN === 'null' ? null : server, { onClosed, ...options });

/** By THEN: does more, and says something of it. */
const more = {
  unwire: () => shutdown.unwire(),
  start() {
    process.stdin.once('data', () => shutdown.start());
  },
  // A second call, and a third one that is taken back.
  calls() {
    const second = () => console.log('second');
    const third = () => console.log('third');
    const other = http.createServer();
    shutdownOnSignals([server, other], { signals: ['SIGUSR2'], drainMs: 300, onClosed: second });
    shutdownOnSignals(null, { signals: ['SIGTERM', 'SIGHUP'], onClosed: third }).unwire();
    const count = (signal) => process.listenerCount(signal);
    return ['SIGTERM', 'SIGINT', 'SIGUSR2', 'SIGHUP'].map(count).join();
  },
  // Another copy of the package, as of a bundler's.
  copies() {
    for (const file of Object.keys(require.cache))
      if (/(lib|websocket|index)\/?.*\.js$/.test(file)) delete require.cache[file];
    const copy = require('../..');
    if (copy.shutdownOnSignals === shutdownOnSignals) throw new Error('one copy');
    const second = copy.shutdownOnSignals(server, {
      onClosed: () => console.log('second', shutdown.started, second.started),
    });
    return process.listenerCount('SIGTERM');
  },
  // Another server, while it ends.
  async added() {
    await once(process.stdin, 'data');
    const other = http.createServer((_req, res) => res.end('other')).listen(0, '127.0.0.1');
    await once(other, 'listening');
    shutdownOnSignals(other);
    return other.address().port;
  },
  broken() {
    server.close = () => {
      throw new Error('no such server');
    };
  },
  faked() {
    const fake = () => 1;
    Object.assign(globalThis, { setTimeout: fake, setInterval: fake, setImmediate: fake });
  },
};
process.on('exit', () => console.log('exit'));
const said = more[THEN]?.();
once(server.listen(0, '127.0.0.1'), 'listening').then(async () => {
  console.log(server.address().port);
  if (said !== undefined) console.log(await said);
});
