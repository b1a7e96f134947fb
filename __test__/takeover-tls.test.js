'use strict';

const https = require('node:https');
const tls = require('node:tls');
const { once } = require('node:events');
const { certificate } = require('./support/certificate');
const { connect, refused, upgradeRequest } = require('./support/client');
const { host, manage, listening, silent } = require('./support/host');
const { program } = require('./support/program');

/** Answers every message with itself. */
const echo = (connection, data) => connection.send(data);

describe('a TLS server', () => {
  const secure = certificate();

  async function secureHost(options) {
    const server = https.createServer(secure, (_req, res) => res.writeHead(418).end());
    const context = await host(options, server);
    const base = `wss://127.0.0.1:${context.port}`;
    const client = { rejectUnauthorized: false };
    return {
      ...context,
      connect: (target = '/api/websocket') => connect(base + target, client),
      base,
      client,
    };
  }

  test('has its connections carried over a bridge, both ways and in order', async () => {
    const { manager, connect: open } = await secureHost({ relay: false, limits: { outboxBytes: 8 << 20 } });
    manager.on('message', echo);
    const client = await open();
    client.send('hello');
    expect(await client.next()).toBe('hello');
    // More than the bridge and the socket take at once.
    const big = Buffer.alloc(1 << 20);
    for (let i = 0; i < big.length; i += 1) big[i] = (i * 31) >> 3;
    for (let i = 0; i < 4; i += 1) client.send(big);
    for (let i = 0; i < 4; i += 1) expect((await client.next()).equals(big)).toBe(true);
    expect(await client.close(4321, 'done')).toEqual({ code: 4321, reason: 'done' });
  });

  test('tells listeners when the TCP socket under it is destroyed', async () => {
    const server = https.createServer(secure);
    const sockets = [];
    server.on('connection', (socket) => sockets.push(socket));
    const { manager, port } = await host({}, server);
    await connect(`wss://127.0.0.1:${port}/api/websocket`, { rejectUnauthorized: false });
    const gone = once(manager, 'disconnect');
    for (const socket of sockets) socket.destroy();
    expect((await gone).slice(1)).toEqual([1006, '', 'network']);
  });

  test('tells listeners when a client closes, and when it vanishes', async () => {
    const { manager, connect: open } = await secureHost();
    const polite = await open();
    let gone = once(manager, 'disconnect');
    polite.close(4000, 'bye');
    expect((await gone).slice(1)).toEqual([4000, 'bye', 'peer']);
    const rude = await open();
    gone = once(manager, 'disconnect');
    rude.socket.terminate();
    expect((await gone).slice(1)).toEqual([1006, '', 'network']);
    expect(manager.connections.size).toBe(0);
  });

  test('has the socket closed of a client that leaves while it is found out who it is', async () => {
    const { authenticate, asking } = silent();
    const { server, port } = await secureHost({ auth: { authenticate } });
    const accepted = once(server, 'secureConnection');
    const client = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    client.write(upgradeRequest());
    await asking;
    const [socket] = await accepted;
    client.end();
    await once(socket, 'close');
  });

  test('has its bridged sockets left alone by listeners that took hold of emit before us', async () => {
    const server = https.createServer(secure);
    const second = https.createServer(secure);
    second.on('upgrade', server.emit.bind(server, 'upgrade'));
    const manager = manage(server, { relay: false });
    manager.on('message', echo);
    server.on('upgrade', (_req, socket) => socket.destroy());
    const judged = new Promise((resolve) => {
      server.on('upgrade', (_req, socket) => {
        // As the documentation of ws has it, for those whom it doesn't let in.
        setImmediate(() => {
          socket.write('HTTP/1.1 401 Unauthorized\r\n\r\n');
          socket.destroy();
          resolve();
        });
      });
    });
    server.on('upgrade', async (_req, socket) => {
      await null;
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    await listening(second);
    const ours = await connect(`wss://127.0.0.1:${second.address().port}/api/websocket`, {
      rejectUnauthorized: false,
    });
    await judged;
    ours.send('mine');
    expect(await ours.next()).toBe('mine');
    await manager.close();
  });

  test('answers an upgrade that nobody claims like any request', async () => {
    const { base, client } = await secureHost();
    expect((await refused(`${base}/x`, client)).status).toBe(418);
  });

  test('takes its manager along when it closes, though its sockets are still open', async () => {
    const { server, connect: open } = await secureHost();
    const client = await open();
    const closed = once(server, 'close');
    server.close();
    expect(await client.closed).toEqual({ code: 1001, reason: '' });
    await closed;
  });

  test('takes no client for dead because its own thread was blocked, and finds the one that is', async () => {
    const { manager, base } = await secureHost({ heartbeat: { intervalMs: 100, timeoutMs: 500 } });
    const COUNT = 10;
    const URL = `${base}/api/websocket`;
    const clients = program('clients.js', { env: { URL, COUNT: String(COUNT) } });
    expect(await clients.line()).toBe('open');
    for (let i = 0; i < 3; i += 1) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
      clients.say('ping');
      expect(await clients.line()).toBe('alive');
    }
    expect([manager.stats().closed, manager.connections.size]).toEqual([{}, COUNT]);
    const gone = once(manager, 'disconnect');
    clients.child.kill('SIGSTOP');
    expect((await gone).slice(1)).toEqual([4003, 'no answer to ping', 'network']);
  });

  test('slows a client down that sends more than its listeners take', async () => {
    const { manager, connect: open } = await secureHost({
      relay: false,
      limits: { eventBytesPerConnection: 1024, eventBytes: 65_536 },
    });
    const client = await open();
    const count = 200;
    let seen = 0;
    const all = new Promise((resolve) => {
      manager.on('message', (_connection, data) => {
        seen += 1;
        expect(data.length).toBe(20_000);
        if (seen === count) resolve();
      });
    });
    for (let i = 0; i < count; i += 1) client.send('x'.repeat(20_000));
    await all;
  });
});
