'use strict';

const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const tls = require('node:tls');
const { execFileSync } = require('node:child_process');
const { once } = require('node:events');
const { Duplex } = require('node:stream');
const internals = require('../lib/node-internals');
const { certificate } = require('./support/certificate');
const { closeAfterwards } = require('./support/cleanup');
const { listening } = require('./support/host');

/** By these releases on, Node asks `shouldUpgradeCallback` whether a request is an upgrade. */
const [major, minor] = process.versions.node.split('.').map(Number);
const asks = major > 24 || (major === 24 && minor >= 9) || (major === 22 && minor >= 21);

/** A client's socket. */
function dial(target) {
  const socket = net.connect(target);
  socket.on('error', () => {});
  closeAfterwards(() => socket.destroy());
  return socket;
}

/** Both ends of a connection to a server of `net`: the server's first. */
async function pair(target) {
  const server = await listening(net.createServer(), target);
  const met = once(server, 'connection');
  const client = dial(target === undefined ? server.address().port : target);
  const [[socket]] = await Promise.all([met, once(client, 'connect')]);
  closeAfterwards(() => socket.destroy());
  return { socket, client };
}

/** A server of `net` whose only socket has been read by nobody, and a client of it that keeps all that it is told. */
async function plainPair() {
  const { socket, client } = await pair();
  let told = '';
  const said = async (pattern) => {
    while (!pattern.test(told)) told += (await once(client, 'data'))[0];
    return told;
  };
  return { socket, client, said };
}

/** The upgrade that a client sends behind `before`. */
async function upgradeBehind(before, handler) {
  const server = await listening(http.createServer(handler));
  const upgraded = once(server, 'upgrade');
  const client = dial(server.address().port);
  client.write(`${before}GET /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n`);
  const [req, socket] = await upgraded;
  closeAfterwards(() => socket.destroy());
  return { server, client, req, socket };
}

describe('the handle of a socket', () => {
  test('of TCP is a TCP with a descriptor that is a socket', async () => {
    const { socket } = await pair();
    expect(internals.handleKindOf(socket)).toBe('TCP');
    expect(fs.fstatSync(internals.descriptorOf(socket)).isSocket()).toBe(true);
  });

  test('of a Unix-domain socket is a Pipe with a descriptor that is a socket', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'actory-ws-internals-'));
    closeAfterwards(() => fs.rmSync(folder, { recursive: true }));
    const { socket } = await pair(path.join(folder, 'socket'));
    expect(internals.handleKindOf(socket)).toBe('Pipe');
    expect(fs.fstatSync(internals.descriptorOf(socket)).isSocket()).toBe(true);
  });

  test('of a destroyed socket and of another stream is none', async () => {
    const { socket } = await pair();
    socket.destroy();
    for (const stream of [socket, new Duplex()]) {
      expect(internals.handleKindOf(stream)).toBeUndefined();
      expect(internals.descriptorOf(stream)).toBe(-1);
    }
  });

  test('of TLS says when the socket under it was destroyed', async () => {
    const server = await listening(tls.createServer(certificate()));
    const transports = [];
    server.on('connection', (socket) => transports.push(socket));
    const met = once(server, 'secureConnection');
    const client = tls.connect({ port: server.address().port, rejectUnauthorized: false });
    client.on('error', () => {});
    closeAfterwards(() => client.destroy());
    const [socket] = await met;
    socket.on('error', () => {});
    expect(internals.isTransportDestroyed(socket)).toBe(false);
    transports[0].destroy();
    expect(internals.isTransportDestroyed(socket)).toBe(true);
    expect(internals.isTransportDestroyed(transports[0])).toBe(false);
  });
});

describe('requests and answers', () => {
  test('the answer that is due on a socket is the one to the first request', async () => {
    const due = [];
    const { req, socket } = await upgradeBehind('GET /1 HTTP/1.1\r\nHost: a\r\n\r\n', (_req, res) =>
      due.push(res),
    );
    expect(internals.dueAnswerOf(socket)).toBe(due[0]);
    expect(due[0].req).not.toBe(req);
    const out = once(due[0], 'finish');
    due[0].end();
    await out;
    expect(internals.dueAnswerOf(socket)?.req).not.toBe(due[0].req);
  });

  test('no answer is due on the socket of an upgrade that came alone', async () => {
    const { req, socket, server } = await upgradeBehind('', () => {});
    const due = internals.dueAnswerOf(socket);
    expect(due === undefined || due.req === req).toBe(true);
    expect(internals.serverOf(req)).toBe(server);
  });

  test('a request without a socket has no server', () => {
    expect(internals.serverOf({})).toBeUndefined();
  });

  test('the connection goes on after an answer, or not, as we say', async () => {
    const kept = [];
    const server = await listening(
      http.createServer((req, res) => {
        kept.push(internals.keepsAlive(res));
        internals.setKeepsAlive(res, req.url === '/on');
        kept.push(internals.keepsAlive(res));
        res.end();
      }),
    );
    const client = dial(server.address().port);
    client.write('GET /on HTTP/1.1\r\nHost: a\r\n\r\nGET /off HTTP/1.1\r\nHost: a\r\n\r\n');
    let told = '';
    for await (const chunk of client) told += chunk;
    expect(told.match(/Connection: [\w-]+/gi)).toEqual(['Connection: keep-alive', 'Connection: close']);
    expect(kept).toEqual([true, true, true, false]);
  });

  test('a last answer goes out on a socket, and lets go of it', async () => {
    const { socket, said } = await plainPair();
    const req = new http.IncomingMessage(socket);
    Object.assign(req, { method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1 });
    const answer = internals.lastAnswerOn(socket, req);
    expect(internals.dueAnswerOf(socket)).toBe(answer);
    const out = once(answer, 'finish');
    answer.end('the answer');
    expect(await said(/the answer/)).toMatch(/^HTTP\/1\.1 200 OK\r\nDate: .*\r\nConnection: close\r\n/);
    await out;
    expect(internals.dueAnswerOf(socket)).toBeUndefined();
    expect(socket.destroyed).toBe(false);
  });

  test('a server reads requests of a socket that it did not accept, and tells of no connection', async () => {
    const server = http.createServer((req, res) => req.resume().on('end', () => res.end(`${req.url}.`)));
    const connected = jest.fn();
    server.on('connection', connected);
    const { socket, client, said } = await plainPair();
    const give = internals.readRequests(server, socket);
    give(Buffer.from('POST /given HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n'));
    client.write('abcGET /read HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await said(/\/read\./)).toMatch(/\/given\.[\s\S]*\/read\./);
    expect(connected).not.toHaveBeenCalled();
  });
});

describe('the question whether a request is an upgrade', () => {
  test('is asked of a function of the server, by releases that have one', () => {
    const server = http.createServer();
    expect(internals.upgradeQuestionOf(server)).toBe(asks ? 'shouldUpgradeCallback' : undefined);
  });

  test('is answered with no for the next request only', async () => {
    const upgraded = [];
    const server = http.createServer((req, res) => res.end(`plain ${req.url}`));
    server.on('upgrade', (req, socket) => {
      upgraded.push(req.url);
      socket.end();
    });
    const { socket, said } = await plainPair();
    const give = internals.readRequests(server, socket);
    const request = (url) =>
      Buffer.from(`GET ${url} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n`);
    const before = Object.getOwnPropertyDescriptors(server);
    internals.withoutUpgrade(server, () => {
      give(request('/first'));
      expect(upgraded).toEqual([]);
      give(request('/second'));
    });
    expect(upgraded).toEqual(['/second']);
    expect(Object.keys(Object.getOwnPropertyDescriptors(server))).toEqual(Object.keys(before));
    expect(await said(/plain/)).toContain('plain /first');
  });

  test('is as before, also where nobody asked and the work threw', () => {
    const server = http.createServer();
    server.on('upgrade', () => {});
    const name = internals.upgradeQuestionOf(server) ?? 'listenerCount';
    const own = server[name];
    expect(() =>
      internals.withoutUpgrade(server, () => {
        expect(server[name]).not.toBe(own);
        expect(server.listenerCount('request')).toBe(0);
        throw new Error('work');
      }),
    ).toThrow('work');
    expect(server[name]).toBe(own);
    expect(server.listenerCount('upgrade')).toBe(1);
  });
});

/** The output of a program that has the functions as `internals`, in a process of its own: jest has contexts and microtasks too. */
function printed(program) {
  const file = JSON.stringify(path.join(__dirname, '..', 'lib', 'node-internals.js'));
  return JSON.parse(
    execFileSync(process.execPath, ['-e', `const internals = require(${file});${program}`], {
      encoding: 'utf8',
    }),
  );
}

describe('contexts and microtasks', () => {
  test('an AsyncResource carries a context exactly where an AsyncLocalStorage has a value', () => {
    const carried = printed(`
      const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');
      const storage = new AsyncLocalStorage();
      const other = new AsyncLocalStorage();
      const carries = () => internals.carriesContext(new AsyncResource('x', { requireManualDestroy: true }));
      const found = [carries()];
      // In a context of its own, which is none: frames stay for the rest of a turn, without a value.
      setImmediate(() => {
        found.push(carries());
        console.log(JSON.stringify(found));
      });
      found.push(storage.run(1, carries), other.run(2, () => storage.run(1, carries)));
    `);
    expect(carried).toEqual([false, true, true, false]);
  });

  test('ticks and microtasks run at once, in the order that Node has', () => {
    const order = printed(`
      setImmediate(() => {
        const order = [];
        Promise.resolve().then(() => order.push('microtask'));
        process.nextTick(() => order.push('tick'));
        internals.runMicrotasks();
        order.push('after');
        console.log(JSON.stringify(order));
      });
    `);
    expect(order).toEqual(['tick', 'microtask', 'after']);
  });
});
