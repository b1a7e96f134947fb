'use strict';

const http = require('node:http');
const { WebSocketServer } = require('ws');
const { RawClient, connect, refused } = require('./support/client');
const { host, listening, manage } = require('./support/host');
const { answer, asks } = require('./support/plain');

describe('a server that says which requests are upgrades', () => {
  /** Its answers are noted. */
  async function choosing(choose, handler = answer) {
    const asked = [];
    const server = http.createServer({
      shouldUpgradeCallback(req) {
        asked.push(req.url);
        return choose.call(this, req);
      },
    });
    if (handler !== undefined) server.on('request', handler);
    const context = await host({ relay: false }, server);
    context.manager.on('message', (connection, data) => connection.send(data));
    return { ...context, asked, base: `ws://127.0.0.1:${context.port}` };
  }
  const isOn = asks ? test : test.skip;

  isOn.each([true, false])('by %p has no say about ours, and others stay plain requests', async (says) => {
    const { connect: open, base, asked, server } = await choosing(() => says);
    const emitted = [];
    server.emit = new Proxy(server.emit, {
      apply: (target, that, args) => emitted.push(args[0]) && Reflect.apply(target, that, args),
    });
    const client = await open();
    client.send('x');
    expect(await client.next()).toBe('x');
    expect((await refused(`${base}/nobody`)).body).toBe('GET /nobody.');
    const bare = new RawClient({ port: server.address().port, host: '127.0.0.1' });
    bare.write('GET /api/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
    await bare.said('GET /api/websocket.');
    // Nothing was read anew.
    expect(emitted.filter((name) => name === 'upgrade')).toHaveLength(1);
    expect(asked).toEqual([]);
  });

  isOn('is asked where others listen', async () => {
    const { base, asked, server, connect: open } = await choosing((req) => req.url === '/theirs');
    const other = new WebSocketServer({ noServer: true });
    server.on('upgrade', (req, socket, head) =>
      other.handleUpgrade(req, socket, head, (opened) => opened.send('theirs')),
    );
    const theirs = await connect(`${base}/theirs`);
    expect(await theirs.next()).toBe('theirs');
    theirs.socket.terminate();
    expect((await refused(`${base}/nobody`)).body).toBe('GET /nobody.');
    await open();
    expect(asked).toEqual(['/theirs', '/nobody']);
  });

  isOn('is asked as before once the manager is closed', async () => {
    const { base, asked, manager } = await choosing(() => false);
    await manager.close();
    expect((await refused(`${base}/api/websocket`)).body).toBe('GET /api/websocket.');
    expect(asked).toEqual(['/api/websocket']);
  });

  isOn('may be told so later, which ends nobody', async () => {
    const { base, server, connect: open } = await choosing(() => true);
    server.shouldUpgradeCallback = () => true;
    expect((await refused(`${base}/nobody`)).body).toBe('GET /nobody.');
    await open();
    expect(server.shouldUpgradeCallback()).toBe(true);
  });

  test('and has lost all its listeners to the application answers plainly', async () => {
    const server = http.createServer(answer);
    manage(server);
    server.removeAllListeners('upgrade');
    await listening(server);
    const { body } = await refused(`ws://127.0.0.1:${server.address().port}/api/websocket`);
    expect(body).toBe('GET /api/websocket.');
  });
});
