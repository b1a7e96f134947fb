'use strict';

const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { mkdtempSync, rmSync } = require('node:fs');
const { once } = require('node:events');
const { Readable } = require('node:stream');
const { WebSocketServer } = require('ws');
const { closeAfterwards } = require('./support/cleanup');
const { host, manage, listening } = require('./support/host');
const { RawClient, connect, refused, upgradeRequest, frame } = require('./support/client');

/** Answers every message with itself. */
const echo = (connection, data) => connection.send(data);

/** An answer to a plain request. */
async function get(port, target, headers = {}) {
  const request = http.get({ port, host: '127.0.0.1', path: target, headers });
  const [response] = await once(request, 'response');
  return { status: response.statusCode, body: Buffer.concat(await response.toArray()).toString() };
}

/** Resolves once the server has emitted an upgrade, which no listener hears of if it is ours. */
function upgradeEmitted(server) {
  const { emit } = server;
  return new Promise((resolve) => {
    server.emit = function spy(name, ...args) {
      const heard = emit.call(this, name, ...args);
      if (name === 'upgrade') resolve();
      return heard;
    };
  });
}

describe('an upgrade of our path', () => {
  test('becomes a connection that Node knows nothing more of', async () => {
    const { server, manager, connect: open } = await host({ relay: false });
    manager.on('message', echo);
    const client = await open();
    client.send('hello');
    expect(await client.next()).toBe('hello');
    expect(await new Promise((resolve) => server.getConnections((_, count) => resolve(count)))).toBe(0);
    expect(manager.connections.size).toBe(1);
  });

  test.each(['/api/websocket', '/api/websocket/', '/api/websocket?a=1', '/api/websocket/?a=/b/'])(
    'is recognised in %s',
    async (target) => {
      const { port } = await host();
      await connect(`ws://127.0.0.1:${port}${target}`);
    },
  );

  test.each(['/', '/api', '/api/websocket/x', '/API/websocket', '/api/websocket//', '/x?/api/websocket'])(
    'is not recognised in %s',
    async (target) => {
      const { port } = await host(
        {},
        http.createServer((_req, res) => res.writeHead(418).end()),
      );
      expect((await refused(`ws://127.0.0.1:${port}${target}`)).status).toBe(418);
    },
  );

  test('is recognised in the absolute form of a request target', async () => {
    const { port } = await host();
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest(`http://127.0.0.1:${port}/api/websocket?x=1`));
    expect(await client.said('\r\n\r\n')).toMatch(/^HTTP\/1\.1 101 /);
  });

  test('keeps the frames that came in one piece with its head', async () => {
    const { port, manager } = await host({ relay: false });
    manager.on('message', echo);
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest(), frame('one'), frame('two'), frame('three').subarray(0, 3));
    await client.said('\x81\x03one\x81\x03two');
    client.write(frame('three').subarray(3));
  });

  test('keeps the frames that come while authenticate is at work', async () => {
    let admit;
    const asked = new Promise((resolve) => {
      admit = resolve;
    });
    const { port, manager } = await host({
      relay: false,
      auth: { authenticate: () => new Promise((resolve) => admit(() => resolve({ userId: 'u' }))) },
    });
    manager.on('message', echo);
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest(), frame('early'));
    const let_in = await asked;
    client.write(frame('later'));
    let_in();
    await client.said('\x81\x05early\x81\x05later');
  });

  test('works with heads that come in pieces', async () => {
    const { port } = await host();
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.socket.setNoDelay(true);
    for (const byte of Buffer.from(upgradeRequest())) client.socket.write(Buffer.of(byte));
    expect(await client.said('\r\n\r\n')).toMatch(/^HTTP\/1\.1 101 /);
  });

  test('works on a Unix-domain socket', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'actory-ws-'));
    closeAfterwards(() => rmSync(folder, { recursive: true }));
    const file = path.join(folder, 'socket');
    const server = http.createServer();
    const manager = manage(server, { relay: false });
    manager.on('message', echo);
    await listening(server, file);
    const met = once(manager, 'connection');
    const client = await connect(`ws+unix:${file}:/api/websocket`);
    const [connection] = await met;
    expect(connection.remoteAddress).toBe('');
    client.send('over a file');
    expect(await client.next()).toBe('over a file');
  });

  test('behind requests that are not answered yet gets 503, and they get their answers first', async () => {
    // More than sockets take at once.
    const page = Buffer.alloc(8 << 20, 'p');
    const waiting = [];
    const server = http.createServer((req, res) => {
      waiting.push(() => (req.url === '/page' ? Readable.from([page, page]).pipe(res) : res.end(req.url)));
    });
    const { manager, port } = await host({}, server);
    const errors = [];
    manager.on('error', (error) => errors.push(error));
    const upgrade = upgradeEmitted(server);
    const client = new RawClient({ port, host: '127.0.0.1' });
    const requests = ['/first', '/page', '/last'].map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    client.write(...requests, upgradeRequest());
    await upgrade;
    // In another order than they have to go out in.
    for (const answer of waiting.reverse()) answer();
    const said = await client.ended;
    const bodies = said.split(/HTTP\/1\.1 \d+ /).map((text) => text.slice(text.indexOf('\r\n\r\n') + 4));
    expect(said.match(/HTTP\/1\.1 \d+/g)).toEqual([...Array(3).fill('HTTP/1.1 200'), 'HTTP/1.1 503']);
    expect(bodies[1]).toContain('/first');
    expect(bodies[2].split('p').length).toBeGreaterThan(2 * page.length);
    expect(bodies[3]).toContain('/last');
    expect(JSON.parse(bodies[4])).toMatchObject({ code: 'ERR_HANDOVER' });
    expect([errors, manager.stats().opened]).toEqual([[], 0]);
  });

  test('behind a request whose answer ends the connection gets none', async () => {
    let answer;
    const asked = new Promise((resolve) => {
      answer = resolve;
    });
    const server = http.createServer((_req, res) => answer(res));
    const { manager, port } = await host({}, server);
    const upgrade = upgradeEmitted(server);
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n', upgradeRequest());
    await upgrade;
    (await asked).setHeader('Connection', 'close').end('bye');
    expect(await client.ended).toMatch(/^HTTP\/1\.1 200 .*bye$/s);
    expect(manager.stats().opened).toBe(0);
  });

  test('whose socket can not be taken gets 503, and an error event tells why', async () => {
    const { server, manager, refused: refuse } = await host();
    server.on('connection', (socket) => {
      // A descriptor that is none.
      Object.defineProperty(socket._handle, 'fd', { value: 2 ** 20 });
    });
    const failed = new Promise((resolve) => manager.once('error', resolve));
    expect(await refuse()).toMatchObject({
      status: 503,
      headers: { 'cache-control': 'no-store' },
      body: { code: 'ERR_HANDOVER', message: 'the socket cannot be taken over from Node' },
    });
    expect(await failed).toMatchObject({ code: 'ERR_HANDOVER' });
  });

  test('whose socket is destroyed already is no error', async () => {
    const { server, manager, port } = await host();
    const errors = [];
    manager.on('error', (error) => errors.push(error));
    const { emit } = server;
    server.emit = function hasty(name, ...args) {
      if (name === 'upgrade') args[1].destroy();
      return emit.call(this, name, ...args);
    };
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest());
    expect(await client.ended).toBe('');
    expect([errors, manager.stats().handshakes]).toEqual([[], 0]);
  });

  test('tells the address of the client', async () => {
    const { pair } = await host();
    const { connection } = await pair();
    expect(connection.remoteAddress).toBe('127.0.0.1');
  });
});

describe('an upgrade of another path', () => {
  test('goes to the manager that has it', async () => {
    const server = http.createServer();
    const first = manage(server, { name: 'first', path: '/first' });
    const second = manage(server, { name: 'second', path: '/second' });
    await listening(server);
    const { port } = server.address();
    await connect(`ws://127.0.0.1:${port}/first`);
    await connect(`ws://127.0.0.1:${port}/second`);
    await connect(`ws://127.0.0.1:${port}/second`);
    expect([first.connections.size, second.connections.size]).toEqual([1, 2]);
  });

  test.each(['before', 'after'])('is left to a ws server that was there %s the manager', async (when) => {
    const server = http.createServer((_req, res) => res.writeHead(418).end());
    const addOther = () => {
      const other = new WebSocketServer({ server, path: '/other' });
      other.on('connection', (socket) => socket.on('message', (data) => socket.send(`other ${data}`)));
    };
    if (when === 'before') addOther();
    const manager = manage(server, { relay: false });
    manager.on('message', echo);
    if (when === 'after') addOther();
    await listening(server);
    const { port } = server.address();

    const theirs = await connect(`ws://127.0.0.1:${port}/other`);
    theirs.send('x');
    expect(await theirs.next()).toBe('other x');
    // The ws server answers 400 to every path but its own, ours included: that must not reach us.
    const ours = await connect(`ws://127.0.0.1:${port}/api/websocket`);
    ours.send('y');
    expect(await ours.next()).toBe('y');
    // And an upgrade that is nobody's is the other's to refuse.
    expect((await refused(`ws://127.0.0.1:${port}/nobody`)).status).toBe(400);
    theirs.socket.terminate();
  });

  test('reaches a listener that claims it later', async () => {
    const server = http.createServer((_req, res) => res.writeHead(418).end());
    manage(server);
    let claimed;
    server.on('upgrade', (_req, socket) => {
      claimed = socket;
      setImmediate(() => socket.end('HTTP/1.1 299 Later\r\nConnection: close\r\n\r\n'));
    });
    await listening(server);
    expect((await refused(`ws://127.0.0.1:${server.address().port}/x`)).status).toBe(299);
    expect(claimed).toBeDefined();
  });
});

describe('an upgrade that nobody claims', () => {
  test('is a request like any other, header and all', async () => {
    const server = http.createServer((req, res) => {
      res.writeHead(418, { 'X-Upgrade': req.headers.upgrade });
      res.end(`${req.method} ${req.url}`);
    });
    manage(server, { name: 'a', path: '/a' });
    manage(server, { name: 'b', path: '/b' });
    await listening(server);
    const answer = await refused(`ws://127.0.0.1:${server.address().port}/c?d`);
    expect(answer).toMatchObject({ status: 418, body: 'GET /c?d' });
    expect(answer.headers['x-upgrade']).toBe('websocket');
  });

  const offer = 'Host: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n';

  test.each([
    ['at once', ['Content-Length: 10\r\n\r\n0123456789']],
    ['in pieces', ['Content-Length: 10\r\n\r\n01234', '56789']],
    ['in pieces, the first one empty', ['Content-Length: 10\r\n\r\n', '0123456789']],
    ['in chunks', ['Transfer-Encoding: chunked\r\n\r\n3\r\n012\r\n', '7\r\n3456789\r\n0\r\n\r\n']],
  ])('keeps its body, as clients that offer h2c need it: %s', async (_how, [first, ...rest]) => {
    const asked = [];
    const server = http.createServer(async (req, res) => {
      asked.shift()?.();
      res.end(`${req.method} ${Buffer.concat(await req.toArray())}.`);
    });
    manage(server);
    await listening(server);
    const client = new RawClient({ port: server.address().port, host: '127.0.0.1' });
    const reached = new Promise((resolve) => asked.push(resolve));
    client.write(`POST /p HTTP/1.1\r\n${offer}${first}`);
    await reached;
    for (const part of rest) client.write(part);
    await client.said('POST 0123456789.');
  });

  test('waits for the answer to the request before it', async () => {
    const server = http.createServer((req, res) => {
      // The upgrade was read in one piece with it.
      if (req.url === '/slow') setImmediate(() => res.end('slow.'));
      else res.end(`${req.method} ${req.url}.`);
    });
    manage(server);
    await listening(server);
    const client = new RawClient({ port: server.address().port, host: '127.0.0.1' });
    client.write(
      `GET /slow HTTP/1.1\r\nHost: a\r\n\r\nPUT /other HTTP/1.1\r\n${offer}Content-Length: 1\r\n\r\nx`,
    );
    expect(await client.said('PUT /other.')).toMatch(/slow\.HTTP\/1\.1 200 OK/);
    client.write('GET /more HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.said('GET /more.');
  });

  test('leaves the connection for more requests, and for an upgrade of ours', async () => {
    const server = http.createServer((req, res) => res.end(`${req.method} ${req.url}.`));
    const manager = manage(server, { relay: false });
    manager.on('message', echo);
    await listening(server);
    const client = new RawClient({ port: server.address().port, host: '127.0.0.1' });
    for (const target of ['/1', '/2']) {
      client.write(`GET ${target} HTTP/1.1\r\n${offer}\r\n`);
      await client.said(`GET ${target}.`);
    }
    client.write('PUT /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx');
    await client.said('PUT /3.');
    client.write(upgradeRequest(), frame('still ours'));
    await client.said('\x81\x0astill ours');
  });

  test('gets 404 where there is no request listener', async () => {
    const { port } = await host();
    expect((await refused(`ws://127.0.0.1:${port}/c`)).status).toBe(404);
  });

  test('is the business of Node once the manager is closed', async () => {
    const server = http.createServer((_req, res) => res.end('plain'));
    const manager = manage(server);
    await listening(server);
    await manager.close();
    expect(server.listenerCount('upgrade')).toBe(0);
    const headers = { connection: 'Upgrade', upgrade: 'websocket' };
    expect(await get(server.address().port, '/api/websocket', headers)).toEqual({
      status: 200,
      body: 'plain',
    });
  });
});
