'use strict';

const http = require('node:http');
const http2 = require('node:http2');
const { Duplex } = require('node:stream');
const { once } = require('node:events');
const { closeAfterwards } = require('./support/cleanup');
const { host, manage, listening, silent } = require('./support/host');
const { RawClient, connect, refused, upgradeRequest, frame } = require('./support/client');

/** A server whose own listener gives upgrades of `/mine` to `take`, with the manager listening on another path. */
async function routing(take, options) {
  const server = http.createServer();
  const manager = manage(server, { relay: false, ...options });
  server.on('upgrade', (req, socket, head) => {
    if (req.url.startsWith('/mine')) take(manager, req, socket, head);
  });
  await listening(server);
  const { port } = server.address();
  return { server, manager, port, url: `ws://127.0.0.1:${port}/mine` };
}

/** The promise of the next call of handleUpgrade, wrapped, for it to be awaited elsewhere. */
function handing(identity, before = () => undefined) {
  let answer;
  const called = new Promise((resolve) => {
    answer = resolve;
  });
  const take = async (manager, req, socket, head) => {
    const wait = before(req, socket);
    if (wait) await wait;
    answer({ promise: manager.handleUpgrade(req, socket, head, identity), socket });
  };
  return { take, called };
}

describe('handleUpgrade', () => {
  test('resolves with the connection, on any path', async () => {
    const { take, called } = handing();
    const { url } = await routing(take);
    const client = await connect(url);
    const connection = await (await called).promise;
    expect(connection.isOpen).toBe(true);
    connection.send('hello');
    expect(await client.next()).toBe('hello');
  });

  test('takes an identity instead of asking who it is', async () => {
    const data = { mine: true };
    const { take, called } = handing({ userId: 9, rooms: ['r'], data });
    const authenticate = jest.fn(() => null);
    const { url, manager } = await routing(take, { auth: { authenticate } });
    const met = once(manager, 'connection');
    await connect(url);
    const connection = await (await called).promise;
    expect([connection.userId, connection.rooms, connection.data]).toEqual(['9', ['r'], data]);
    expect((await met)[0]).toBe(connection);
    expect(authenticate).not.toHaveBeenCalled();
  });

  test('checks the origin also where an identity is given', async () => {
    const { take, called } = handing({ userId: 'u' });
    const { url } = await routing(take);
    expect((await refused(url, { origin: 'https://evil.example' })).status).toBe(403);
    await expect((await called).promise).rejects.toMatchObject({ code: 'ERR_ORIGIN_REFUSED' });
  });

  test('asks who it is without an identity, and rejects with the refusal', async () => {
    const { take, called } = handing();
    const { url } = await routing(take, { auth: { authenticate: async () => null } });
    expect((await refused(url)).body.code).toBe('ERR_UNAUTHORIZED');
    await expect((await called).promise).rejects.toMatchObject({ name: 'Error', code: 'ERR_UNAUTHORIZED' });
  });

  test('takes along what the socket read during an await', async () => {
    let more;
    const { take, called } = handing({ userId: 'u' }, (_req, socket) => {
      // The second write has arrived when the socket has something to read.
      const readable = once(socket, 'readable');
      more();
      return readable;
    });
    const { port, manager } = await routing(take);
    manager.on('message', (connection, data) => connection.send(data));
    const client = new RawClient({ port, host: '127.0.0.1' });
    more = () => client.write(frame('late'));
    client.write(upgradeRequest('/mine'), frame('in the head'));
    await called;
    await client.said('\x81\x0bin the head\x81\x04late');
  });

  const rawHeaders = [
    ...['Host', 'x', 'Upgrade', 'websocket', 'Connection', 'Upgrade', 'Sec-WebSocket-Version', '13'],
    ...['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='],
  ];
  const request = { method: 'GET', url: '/x', httpVersion: '1.1', rawHeaders };

  test('takes any duplex stream', async () => {
    const server = http.createServer();
    const manager = manage(server, { relay: false });
    manager.on('message', (connection, data) => connection.send(data));
    // Two ends of a pipe.
    const make = () =>
      new Duplex({
        read() {},
        write(chunk, _encoding, done) {
          this.other.push(chunk);
          done();
        },
        final(done) {
          this.other.push(null);
          done();
        },
      });
    const [near, far] = [make(), make()];
    near.other = far;
    far.other = near;
    const req = Object.assign(new http.IncomingMessage(null), request);
    let said = '';
    const heard = new Promise((resolve) => {
      far.on('data', (chunk) => {
        said += chunk.toString('latin1');
        if (said.endsWith('\x81\x04pipe')) resolve();
      });
    });
    const connection = await manager.handleUpgrade(req, near, undefined, { userId: 'u' });
    expect(connection.remoteAddress).toBe('');
    far.write(frame('pipe'));
    await heard;
    expect(said).toMatch(/^HTTP\/1\.1 101 /);
    const gone = once(manager, 'disconnect');
    far.end();
    expect((await gone)[1]).toBe(1006);
  });

  test('rejects where the application has answered on the socket, and ended it', async () => {
    const { take, called } = handing({ userId: 'u' }, (_req, socket) => {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    });
    const { port } = await routing(take);
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest('/mine'));
    const { promise } = await called;
    await expect(promise).rejects.toMatchObject({ code: 'ERR_HANDOVER' });
    expect(await client.ended).toMatch(/^HTTP\/1\.1 400 (?!.* 101 )/s);
  });

  test('rejects, and leaves the socket alone, while an earlier request on it is not answered', async () => {
    const { take, called } = handing({ userId: 'u' });
    const { server, port } = await routing(take);
    const asked = once(server, 'request');
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n', upgradeRequest('/mine'));
    const { promise, socket } = await called;
    await expect(promise).rejects.toMatchObject({ code: 'ERR_HANDOVER' });
    expect(socket.destroyed).toBe(false);
    const [, res] = await asked;
    res.end('slow.');
    await client.said('slow.');
    socket.destroy();
  });

  test('notices a stream that is destroyed without an error', async () => {
    const { manager } = await host();
    const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
    await manager.handleUpgrade(request, stream, null, { userId: 'u' });
    const gone = once(manager, 'disconnect');
    stream.destroy();
    expect((await gone).slice(1)).toEqual([1006, '', 'network']);
    expect(stream.destroyed).toBe(true);
  });

  test.each(['rejects the stream', 'destroys its session'])(
    'notices an HTTP/2 client that %s',
    async (how) => {
      const { manager } = await host();
      const server = await listening(http2.createServer());
      const opened = new Promise((resolve) => {
        server.on('stream', (stream) => {
          stream.respond({ ':status': 200 });
          resolve(manager.handleUpgrade(request, stream, null, { userId: 'u' }));
        });
      });
      const session = http2.connect(`http://127.0.0.1:${server.address().port}`);
      const stream = session.request({ ':method': 'POST' }).on('error', () => {});
      stream.resume();
      await opened;
      const gone = once(manager, 'disconnect');
      if (how === 'rejects the stream') stream.close(http2.constants.NGHTTP2_CANCEL);
      else session.destroy();
      expect((await gone).slice(1)).toEqual([1006, '', 'network']);
      session.destroy();
    },
  );

  test('does not let a listener of the same event destroy what was given away', async () => {
    const { manager } = await host();
    const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
    const connection = manager.handleUpgrade(request, stream, null, { userId: 'u' });
    stream.destroy();
    expect((await connection).userId).toBe('u');
    expect(stream.destroyed).toBe(false);
  });

  test('rejects, and leaves the socket alone, for what is no upgrade', async () => {
    const { manager } = await host();
    const req = { method: 'GET', url: '/', httpVersion: '1.1', rawHeaders: [] };
    const socket = new Duplex({ read() {}, write() {} });
    const invalid = [
      [undefined, socket],
      [{}, socket],
      [{ ...req, rawHeaders: [5] }, socket],
      [{ ...req, url: undefined }, socket],
      [req, undefined],
      [req, {}],
      [req, 'socket'],
      [req, socket, 'head'],
      [req, socket, 5],
    ];
    for (const args of invalid) {
      await expect(manager.handleUpgrade(...args)).rejects.toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG',
      });
    }
    const crowd = Array.from({ length: 1001 }, (_, n) => n);
    for (const identity of [
      null,
      5,
      {},
      { userId: '' },
      { userId: 'u', room: 'r' },
      { userId: 'u', rooms: crowd },
    ]) {
      await expect(manager.handleUpgrade(req, socket, null, identity)).rejects.toMatchObject({
        code: 'ERR_INVALID_IDENTITY',
      });
    }
    expect(socket.destroyed).toBe(false);
    expect(socket.eventNames()).not.toContain('data');
  });

  test('answers 503 while the manager closes, so that the client goes to another server', async () => {
    const waiting = [];
    const { manager, port, url } = await routing((manager, ...upgrade) =>
      waiting.push(() => manager.handleUpgrade(...upgrade, { userId: 'u' })),
    );
    const refusal = refused(url);
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest('/mine'));
    while (waiting.length < 2) await new Promise(setImmediate);
    const closed = manager.close();
    for (const take of waiting) await expect(take()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    expect(await refusal).toMatchObject({ status: 503, body: { code: 'ERR_SHUTTING_DOWN' } });
    expect(await client.ended).toMatch(/^HTTP\/1\.1 503 .*ERR_SHUTTING_DOWN/s);
    await closed;
    // Also once that is done; plain requests are left alone.
    await expect(waiting[0]()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    const late = new RawClient({ port, host: '127.0.0.1' });
    late.write(upgradeRequest('/mine'));
    while (waiting.length < 3) await new Promise(setImmediate);
    await expect(waiting[2]()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    expect(await late.ended).toMatch(/^HTTP\/1\.1 503 /);
  });

  test('takes a url with a line break for one line', async () => {
    const { server, manager, port } = await host({ keepHeaders: ['origin'] });
    const called = new Promise((resolve) => {
      server.on('upgrade', (req, socket, head) => {
        req.url = '/mine\nHTTP/1.1\nOrigin';
        resolve(manager.handleUpgrade(req, socket, head, { userId: 1 }));
      });
    });
    connect(`ws://127.0.0.1:${port}/mine`).catch(() => {});
    const { url, headers } = (await called).request;
    expect([url, { ...headers }]).toEqual(['/mine HTTP/1.1 Origin', {}]);
  });

  test('rejects for a socket that is closed, or was taken', async () => {
    const { take, called } = handing({ userId: 'u' });
    const { url, manager } = await routing((...args) => {
      const [, req, socket, head] = args;
      take(...args);
      second = manager.handleUpgrade(req, socket, head, { userId: 'u' });
    });
    let second;
    await connect(url);
    await (await called).promise;
    await expect(second).rejects.toMatchObject({ code: 'ERR_HANDOVER' });
    expect(manager.connections.size).toBe(1);
  });

  test('rejects when the client leaves meanwhile', async () => {
    const { take, called } = handing();
    const { authenticate, asking } = silent();
    const { port, manager } = await routing(take, { auth: { authenticate } });
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest('/mine'));
    const { promise } = await called;
    await asking;
    client.socket.destroy();
    await expect(promise).rejects.toMatchObject({ code: 'ERR_HANDOVER' });
    expect(manager.connections.size).toBe(0);
  });
});

describe('a Duplex in object mode', () => {
  const rawHeaders = Object.entries({
    Host: 'x',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }).flat();

  /** A manager, a stream, and the request that came by it. */
  function upgradeOver() {
    const manager = manage(http.createServer(), { relay: false });
    const stream = new Duplex({ objectMode: true, read() {}, write: (_chunk, _encoding, done) => done() });
    const request = { method: 'GET', url: '/x', httpVersion: '1.1', rawHeaders };
    return { manager, stream, req: Object.assign(new http.IncomingMessage(null), request) };
  }

  test('is a connection for as long as it gives bytes', async () => {
    const { manager, stream, req } = upgradeOver();
    const connection = await manager.handleUpgrade(req, stream, null, { userId: 'u' });
    const message = once(manager, 'message');
    stream.push(frame('bytes'));
    expect((await message)[1]).toBe('bytes');
    const gone = once(manager, 'disconnect');
    stream.push(new Uint8Array(frame('more')));
    stream.push({ no: 'bytes' });
    expect((await gone).slice(0, 2)).toEqual([connection, 1006]);
    expect(stream.destroyed).toBe(true);
  });

  test.each([[{ no: 'bytes' }], [7], [Symbol('none')], [new Uint16Array(2)]])(
    'that gave %p before is not taken',
    async (object) => {
      const { manager, stream, req } = upgradeOver();
      stream.push(frame('bytes'));
      stream.push(object);
      const taken = manager.handleUpgrade(req, stream, null, { userId: 'u' });
      await expect(taken).rejects.toMatchObject({ code: 'ERR_HANDOVER', cause: { name: 'TypeError' } });
      expect(stream.destroyed).toBe(true);
      expect(manager.stats().handshakes).toBe(0);
    },
  );
});

describe('a Duplex that throws', () => {
  /** Carries what goes through a socket; `broken` names the method that throws. */
  function carrier(socket, broken) {
    const stream = new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        socket.write(chunk, done);
      },
      final(done) {
        socket.end(done);
      },
      destroy(error, done) {
        socket.destroy();
        done(error);
      },
    });
    closeAfterwards(() => socket.destroy());
    stream.setTimeout = () => stream;
    stream.setNoDelay = () => stream;
    socket.on('data', (chunk) => stream.push(chunk));
    socket.on('close', () => stream.push(null));
    stream[broken] = () => {
      throw new Error('broken');
    };
    return stream;
  }

  /** The outcome of an upgrade over such a stream. */
  async function upgradeOver(broken) {
    let answer;
    const outcome = new Promise((resolve) => {
      answer = resolve;
    });
    const { port, manager } = await routing(
      (mine, req, socket, head) => {
        const stream = carrier(socket, broken);
        mine.handleUpgrade(req, stream, head, { userId: 'u' }).then(
          (connection) => answer({ connection, stream }),
          (error) => answer({ error, stream }),
        );
        // The client answers no close frame, and nobody needs to wait for that.
      },
      { limits: { closeTimeoutMs: 50 } },
    );
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest('/mine'));
    return { manager, client, ...(await outcome) };
  }

  const noneLeft = async (manager) => {
    while (manager.connections.size + manager.stats().handshakes > 0) await new Promise(setImmediate);
  };

  test.each(['on', 'resume', 'setTimeout', 'setNoDelay'])('in %s is not taken', async (broken) => {
    const { manager, error, stream } = await upgradeOver(broken);
    expect(error).toMatchObject({ code: 'ERR_HANDOVER', cause: { message: 'broken' } });
    expect(stream.destroyed).toBe(true);
    await noneLeft(manager);
  });

  test.each(['_write', 'write'])('in %s ends its connection', async (broken) => {
    const { manager, stream } = await upgradeOver(broken);
    await noneLeft(manager);
    expect(stream.destroyed).toBe(true);
  });

  test.each(['end', 'destroy', '_destroy', 'pause'])('in %s harms nobody', async (broken) => {
    const { manager, connection } = await upgradeOver(broken);
    connection.close();
    await manager.disconnectUser('u');
    await manager.close();
  });
});
