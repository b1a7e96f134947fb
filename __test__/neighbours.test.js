'use strict';

const { EventEmitter, once } = require('node:events');
const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');
const net = require('node:net');
const tls = require('node:tls');
const { WebSocketServer } = require('ws');
const { certificate } = require('./support/certificate');
const { closeAfterwards } = require('./support/cleanup');
const { RawClient, connect, frame, refused, upgradeRequest } = require('./support/client');
const { host, listening, manage } = require('./support/host');
const { answer, asks } = require('./support/plain');

const secure = certificate();
const insecure = { rejectUnauthorized: false };
/** Kinds of servers: how one is made, and how a client's URL begins. */
const KINDS = {
  http: { make: (handler = answer) => http.createServer(handler), scheme: 'ws' },
  https: { make: (handler = answer) => https.createServer(secure, handler), scheme: 'wss' },
  'http2 with allowHTTP1': {
    make: (handler = answer) => http2.createSecureServer({ ...secure, allowHTTP1: true }, handler),
    scheme: 'wss',
  },
};

const echo = (connection, data) => connection.send(data);
const nothing = () => {};

/** A client that says bytes, over TLS where the server has it. */
async function raw(port, scheme) {
  if (scheme === 'ws') return new RawClient({ port, host: '127.0.0.1' });
  const carried = tls.connect({ port, host: '127.0.0.1', ...insecure });
  await once(carried, 'secureConnect');
  return new RawClient(undefined, carried);
}

describe.each(Object.entries(KINDS))('on a server of %s', (_kind, { make, scheme }) => {
  /** A manager that echoes, and clients for it. `prepare` is given the server before the manager is made. */
  async function neighbourhood(prepare = nothing, options = {}, handler = answer) {
    const server = make(handler);
    prepare(server);
    const context = await host({ relay: false, ...options }, server);
    context.manager.on('message', echo);
    const base = `${scheme}://127.0.0.1:${context.port}`;
    return {
      ...context,
      open: (path = '/api/websocket', more = {}) => connect(base + path, { ...insecure, ...more }),
      refuse: (path, more = {}) => refused(base + path, { ...insecure, ...more }),
      raw: () => raw(context.port, scheme),
    };
  }

  test('no other listener hears of an upgrade of ours, wherever it stands', async () => {
    const heard = [];
    const hear = (place) => (req) => heard.push(`${place} ${req.url}`);
    const { server, open, manager } = await neighbourhood((early) => early.on('upgrade', hear('before')));
    server.on('upgrade', hear('after'));
    server.once('upgrade', hear('once'));
    server.prependListener('upgrade', hear('in front'));
    server.prependOnceListener('upgrade', hear('once in front'));
    const client = await open();
    client.send('mine');
    expect(await client.next()).toBe('mine');
    expect([heard, manager.connections.size]).toEqual([[], 1]);
  });

  test.each(['before', 'after'])(
    'a ws server without a path that came %s us sees none of ours',
    async (when) => {
      const ghosts = [];
      const add = (server) => {
        const other = new WebSocketServer({ server });
        other.on('connection', (socket, req) => {
          ghosts.push(req.url);
          socket.send('theirs');
        });
      };
      const { server, open, raw: bare, manager } = await neighbourhood(when === 'before' ? add : nothing);
      if (when === 'after') add(server);
      const messages = [];
      manager.on('message', (_connection, data) => messages.push(data));
      const client = await bare();
      client.write(upgradeRequest(), frame('first'), frame('second'));
      await client.said('\x81\x05first\x81\x06second');
      client.write(frame('third'));
      await client.said('\x81\x05third');
      expect([ghosts, messages]).toEqual([[], ['first', 'second', 'third']]);
      // All that is not ours is the other's.
      const theirs = await open('/other');
      expect(await theirs.next()).toBe('theirs');
      expect(ghosts).toEqual(['/other']);
      theirs.socket.terminate();
    },
  );

  test('a proxy that takes every upgrade opens nothing for ours', async () => {
    const backend = net.createServer().listen(0, '127.0.0.1');
    await once(backend, 'listening');
    closeAfterwards(() => backend.close());
    const opened = [];
    const { server, open } = await neighbourhood();
    server.on('upgrade', (req, socket, head) => {
      opened.push(req.url);
      // As http-proxy does.
      if (head?.length > 0) socket.unshift(head);
      const there = net.connect(backend.address().port, '127.0.0.1');
      closeAfterwards(() => there.destroy());
      there.pipe(socket).pipe(there);
    });
    const client = await open();
    for (let i = 0; i < 60; i += 1) client.send(String(i));
    for (let i = 0; i < 60; i += 1) expect(await client.next()).toBe(String(i));
    expect(opened).toEqual([]);
  });

  test.each(['h2c', 'TLS/1.0', 'websockets', 'websocket/13', 'h2c, , HTTP/3.0'])(
    'an offer of %s on our path is a plain request, also beside other listeners',
    async (upgrade) => {
      const { server, raw: bare } = await neighbourhood();
      const sockets = [];
      server.on(scheme === 'ws' ? 'connection' : 'secureConnection', (socket) => sockets.push(socket));
      const client = await bare();
      const ask = (method, body) =>
        client.write(
          `${method} /api/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${upgrade}\r\n`,
          `HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        );
      ask('GET', '');
      expect(await client.said('GET /api/websocket.')).toContain(`X-Upgrade: ${upgrade}\r\n`);
      ask('POST', 'a=1');
      await client.said('POST /api/websocket.');
      // Others may make of it what they like elsewhere, not here.
      const heard = [];
      server.on('upgrade', (req, socket) => {
        heard.push(req.url);
        socket.destroy();
      });
      ask('PUT', 'b=2');
      await client.said('PUT /api/websocket.');
      client.write(upgradeRequest(), frame('ours'));
      await client.said('\x81\x04ours');
      expect([heard, sockets.length]).toEqual([[], 1]);
    },
  );

  test.each(['websocket', 'WebSocket', 'h2c, websocket', ', websocket,'])(
    'an offer of %s is ours',
    async (upgrade) => {
      const { raw: bare } = await neighbourhood();
      const client = await bare();
      client.write(
        upgradeRequest('/api/websocket', { Upgrade: upgrade, Connection: 'keep-alive, , Upgrade' }),
      );
      expect(await client.said('\r\n\r\n')).toMatch(/^HTTP\/1\.1 101 /);
    },
  );

  test('HTTP/1.0 knows no upgrades', async () => {
    const { raw: bare, manager } = await neighbourhood();
    const client = await bare();
    client.write(upgradeRequest().replace('HTTP/1.1', 'HTTP/1.0'));
    expect(await client.ended).toMatch(/^HTTP\/1\.1 200 .*GET \/api\/websocket\.$/s);
    expect(manager.stats().refused).toEqual({});
  });

  test('a socket has one connection event, however many upgrades come by it that nobody claims', async () => {
    const events = [];
    const { raw: bare } = await neighbourhood((server) => {
      for (const name of ['connection', 'secureConnection']) server.on(name, () => events.push(name));
    });
    const client = await bare();
    for (let i = 0; i < 21; i += 1) {
      client.write(upgradeRequest(`/nobody/${i}`));
      await client.said(`GET /nobody/${i}.`);
    }
    expect(events).toEqual(scheme === 'ws' ? ['connection'] : ['connection', 'secureConnection']);
  });

  // Such a Node reads nothing that came in one piece with an upgrade that it answers plainly.
  (asks ? test.skip : test)('several upgrades in one piece are read one after the other', async () => {
    const { raw: bare } = await neighbourhood();
    const client = await bare();
    client.write(upgradeRequest('/nobody/1'), upgradeRequest('/nobody/2'));
    await client.said('GET /nobody/2.');
    client.write(upgradeRequest('/nobody/3'), 'GET /4 HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.said('GET /4.');
    client.write(upgradeRequest(), frame('ours'));
    expect(await client.said('\x81\x04ours')).toMatch(
      /GET \/nobody\/1\..*GET \/nobody\/2\..*GET \/nobody\/3\..*GET \/4\./s,
    );
  });

  test.each([
    ['Content-Length: 5', 'bytes'],
    ['Content-Length: 5', ''],
    ['Transfer-Encoding: chunked', '0\r\n\r\n'],
    ['Transfer-Encoding: chunked', '5\r\nbytes\r\n0\r\n\r\n'],
  ])('an upgrade with a body is refused: %s %j', async (header, body) => {
    const { raw: bare, manager } = await neighbourhood();
    const messages = [];
    manager.on('message', (_connection, data) => messages.push(data));
    const [name, value] = header.split(': ');
    const client = await bare();
    client.write(upgradeRequest('/api/websocket', { [name]: value }), body, frame('behind'));
    expect(await client.said('ERR_BAD_BODY')).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    await client.ended;
    expect([messages, manager.stats().opened]).toEqual([[], 0]);
  });

  test('an upgrade whose body has no bytes is none with a body', async () => {
    const { raw: bare } = await neighbourhood();
    const client = await bare();
    client.write(upgradeRequest('/api/websocket', { 'Content-Length': '0' }), frame('zero'));
    await client.said('\x81\x04zero');
  });

  test('a refusal of HEAD has no body', async () => {
    const { raw: bare } = await neighbourhood();
    const client = await bare();
    client.write(upgradeRequest().replace('GET', 'HEAD'));
    const said = await client.ended;
    expect(said).toMatch(/^HTTP\/1\.1 405 .*\r\nContent-Length: [1-9]\d*\r\n.*\r\n\r\n$/s);
    expect(said.indexOf('\r\n\r\n')).toBe(said.length - 4);
  });

  test('a refusal of HEAD by JavaScript has no body', async () => {
    const waiting = [];
    const { raw: bare } = await neighbourhood(nothing, {}, (_req, res) => waiting.push(res));
    const client = await bare();
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n', upgradeRequest().replace('GET', 'HEAD'));
    while (waiting.length === 0) await new Promise(setImmediate);
    waiting[0].end('first.');
    const said = await client.ended;
    expect(said).toMatch(/first\.HTTP\/1\.1 503 .*\r\n\r\n$/s);
    expect(said).not.toContain('ERR_HANDOVER');
  });

  test('a refusal by JavaScript counts, and is told of', async () => {
    const waiting = [];
    const { raw: bare, manager } = await neighbourhood(nothing, {}, (_req, res) => waiting.push(res));
    const told = once(manager, 'refused');
    const client = await bare();
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n', upgradeRequest('/api/websocket?secret=1'));
    while (waiting.length === 0) await new Promise(setImmediate);
    waiting[0].end('first.');
    expect(await client.ended).toContain('ERR_HANDOVER');
    const [refusal] = await told;
    expect(refusal).toMatchObject({
      code: 'ERR_HANDOVER',
      message: 'the socket cannot be taken over from Node',
      url: expect.stringMatching(/^\/api\/websocket\?secret/),
      remoteAddress: '127.0.0.1',
    });
    expect(refusal.url).not.toContain('1');
    expect(manager.stats().refused).toEqual({ ERR_HANDOVER: 1 });
  });

  test.each([
    ['1,000', nothing, 1100],
    ['the server’s maxHeadersCount', (server) => (server.maxHeadersCount = 20), 50],
  ])(
    'of an upgrade with more headers than %s nothing is taken for a request',
    async (_what, prepare, count) => {
      const requests = [];
      const { raw: bare, manager } = await neighbourhood(prepare, {}, (req, res) => {
        requests.push(req.url);
        res.end('answered.');
      });
      // The last says that there is a body, and may be among those that Node drops.
      const more = Object.fromEntries(Array.from({ length: count }, (_, i) => [`a${i}`, '']));
      const body = 'GET /admin HTTP/1.1\r\nHost: a\r\n\r\n';
      for (const path of ['/page', '/api/websocket']) {
        const client = await bare();
        client.write(upgradeRequest(path, { ...more, 'Content-Length': String(body.length) }), body);
        expect(await client.ended).toMatch(/^HTTP\/1\.1 431 (?!.*answered)/s);
      }
      expect([requests, manager.stats().opened]).toEqual([[], 0]);
    },
  );

  test('an upgrade that is none of Node’s is for the other listeners', async () => {
    const heard = [];
    const { server } = await neighbourhood((early) => early.on('upgrade', (...args) => heard.push(args)));
    const odd = [
      [],
      [{ url: '/api/websocket', headers: { upgrade: 'websocket' } }],
      [{ rawHeaders: ['Upgrade', 'websocket'], httpVersion: '1.1' }],
      [{ url: '/api/websocket', rawHeaders: ['Upgrade'], httpVersion: '1.1' }],
    ];
    for (const args of odd) server.emit('upgrade', ...args);
    expect(heard).toEqual(odd);
  });

  // Elsewhere Node counts on.
  (asks ? test.skip : test)(
    'a limit of requests per socket is none that unclaimed upgrades get past',
    async () => {
      const { raw: bare } = await neighbourhood((server) => {
        server.maxRequestsPerSocket = 2;
      });
      const client = await bare();
      client.write(upgradeRequest('/nobody/1'), upgradeRequest('/nobody/2'));
      expect(await client.ended).toMatch(/\r\nConnection: close\r\n.*GET \/nobody\/1\.$/s);
    },
  );

  (asks ? test.skip : test)('many upgrades in one piece leave no listeners on the socket', async () => {
    const { server, raw: bare } = await neighbourhood();
    const connected = once(server, scheme === 'ws' ? 'connection' : 'secureConnection');
    const client = await bare();
    const [socket] = await connected;
    client.write(...Array.from({ length: 50 }, (_, i) => upgradeRequest(`/nobody/${i}`)));
    await client.said('GET /nobody/49.');
    expect(socket.listenerCount('error')).toBeLessThan(5);
  });

  test('emit is put a hook around once, which stays, and calls what was there', async () => {
    const names = [];
    const server = make();
    const own = function own(name, ...args) {
      names.push(name);
      return EventEmitter.prototype.emit.call(this, name, ...args);
    };
    server.emit = own;
    const managers = [manage(server, { name: 'first', path: '/first' })];
    const { emit } = server;
    expect(emit).not.toBe(own);
    managers.push(manage(server, { name: 'second', path: '/second' }));
    expect(server.emit).toBe(emit);
    await listening(server);
    const base = `${scheme}://127.0.0.1:${server.address().port}`;
    await connect(`${base}/second`, insecure);
    await connect(`${base}/first`, insecure);
    expect(managers.map(({ connections }) => connections.size)).toEqual([1, 1]);
    expect(names).toContain('connection');
    expect(names).not.toContain('upgrade');
    for (const manager of managers) await manager.close();
    expect(server.emit).toBe(emit);
    // As if we had never been there.
    const heard = once(server, 'upgrade');
    const late = await raw(server.address().port, scheme);
    late.write(upgradeRequest('/first'));
    const [, socket] = await heard;
    socket.destroy();
    manage(server, { name: 'third', path: '/first' });
    expect(server.emit).toBe(emit);
    await connect(`${base}/first`, insecure);
  });

  test('who wraps emit later, of the server or of its class, still hears all', async () => {
    const heard = { server: [], class: [] };
    const { server, open } = await neighbourhood();
    const inner = server.emit;
    server.emit = new Proxy(inner, {
      apply(target, that, args) {
        heard.server.push(args[0]);
        return Reflect.apply(target, that, args);
      },
    });
    const prototype = Object.getPrototypeOf(server);
    const was = Object.getOwnPropertyDescriptor(prototype, 'emit');
    const { emit } = prototype;
    prototype.emit = function wrapped(name, ...args) {
      if (this === server) heard.class.push(name);
      return emit.call(this, name, ...args);
    };
    try {
      const client = await open();
      client.send('x');
      expect(await client.next()).toBe('x');
    } finally {
      if (was === undefined) delete prototype.emit;
      else Object.defineProperty(prototype, 'emit', was);
    }
    expect(heard.server).toEqual(expect.arrayContaining(['connection', 'upgrade']));
    expect(heard.class).toContain('connection');
    expect(heard.class).not.toContain('upgrade');
  });

  test('who took hold of emit before us, as Fastify does for its second server, brings upgrades all the same', async () => {
    const second = make();
    const { manager } = await neighbourhood((main) => {
      second.on('upgrade', main.emit.bind(main, 'upgrade'));
    });
    await listening(second);
    const base = `${scheme}://127.0.0.1:${second.address().port}`;
    const client = await connect(`${base}/api/websocket`, insecure);
    client.send('second');
    expect(await client.next()).toBe('second');
    expect(manager.connections.size).toBe(1);
    expect((await refused(`${base}/nobody`, insecure)).body).toBe('GET /nobody.');
    const bare = await raw(second.address().port, scheme);
    bare.write('GET /api/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
    await bare.said('GET /api/websocket.');
    bare.socket.destroy();
    // Or the second server would wait for it.
    await manager.close();
  });

  test('copies of the package share the hook of a server', async () => {
    const server = make();
    const first = manage(server, { name: 'first', path: '/first' });
    const { emit } = server;
    let Other;
    jest.isolateModules(() => {
      Other = require('..').WebSocketManager;
    });
    const second = new Other(server, { auth: 'anonymous', redis: false, name: 'second', path: '/second' });
    closeAfterwards(() => second.close());
    expect(Other).not.toBe(first.constructor);
    expect(server.emit).toBe(emit);
    expect(server.listenerCount('upgrade')).toBe(1);
    await listening(server);
    const base = `${scheme}://127.0.0.1:${server.address().port}`;
    await connect(`${base}/first`, insecure);
    await connect(`${base}/second`, insecure);
    expect([first.connections.size, second.connections.size]).toEqual([1, 1]);
    expect((await refused(`${base}/third`, insecure)).body).toBe('GET /third.');
  });
});
