// The promises of crossws about adapters, asked of the one over this package (adapter.mjs).
//
// Never: permessage-deflate, which this package doesn't speak.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { afterEach, test } from 'node:test';
import { defineHooks } from 'crossws';
import WebSocket from 'ws';
import actoryAdapter from './adapter.mjs';

const opened = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** A server whose upgrades all go to the adapter. */
async function serve(hooks, options) {
  const adapter = actoryAdapter({ hooks: defineHooks(hooks), ...options });
  const server = http.createServer((_req, res) => res.end('ok'));
  server.on('upgrade', (req, socket, head) => {
    adapter.handleUpgrade(req, socket, head).catch(() => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push(async () => {
    await adapter.manager.close();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const url = `ws://127.0.0.1:${server.address().port}`;
  return {
    adapter,
    url,
    connect: (path = '/', protocols = [], headers = {}) => connect(url + path, protocols, headers),
  };
}

/** A client, its messages in order, and the headers of its 101. */
async function connect(url, protocols, headers) {
  const socket = new WebSocket(url, protocols, { headers, perMessageDeflate: false });
  const messages = [];
  let arrived = () => {};
  socket.on('message', (data, isBinary) => {
    messages.push(isBinary ? data : data.toString());
    arrived();
  });
  const [[response]] = await Promise.all([once(socket, 'upgrade'), once(socket, 'open')]);
  const closed = once(socket, 'close').then(([code, reason]) => ({ code, reason: reason.toString() }));
  const next = async () => {
    while (messages.length === 0) {
      await new Promise((resolve) => {
        arrived = resolve;
      });
    }
    return messages.shift();
  };
  return { socket, next, closed, send: (data) => socket.send(data), headers: response.headers };
}

/** The answer of a handshake that fails. */
async function answered(url) {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  socket.on('error', () => {});
  const [, response] = await once(socket, 'unexpected-response');
  const body = Buffer.concat(await response.toArray()).toString();
  socket.terminate();
  return { status: response.statusCode, statusText: response.statusMessage, headers: response.headers, body };
}

test('plain requests are left alone', async () => {
  const { url } = await serve({});
  assert.equal(await (await fetch(url.replace('ws', 'http'))).text(), 'ok');
});

test('open and message: text, binary and JSON both ways', async () => {
  const { connect } = await serve({
    open: (peer) => peer.send(`welcome ${peer}`),
    message(peer, message) {
      if (message.text() === 'json') peer.send({ id: peer.id });
      else if (message.text() === 'binary') peer.send(message.uint8Array());
      else peer.send(message.text());
    },
  });
  const client = await connect();
  const id = (await client.next()).slice('welcome '.length);
  client.send('hello');
  assert.equal(await client.next(), 'hello');
  client.send(Buffer.from('binary'));
  assert.deepEqual(await client.next(), Buffer.from('binary'));
  client.send('json');
  assert.deepEqual(JSON.parse(await client.next()), { id });
});

for (const [how, refuse] of [
  ['returns', (response) => response],
  [
    'throws',
    (response) => {
      throw response;
    },
  ],
  [
    'throws something with',
    (response) => {
      throw { response };
    },
  ],
]) {
  test(`upgrade ${how} a Response: the client gets it`, async () => {
    const headers = { 'x-error': 'unauthorized', 'www-authenticate': 'Bearer realm="crossws"' };
    const { url, adapter } = await serve({
      upgrade: () =>
        refuse(new Response('unauthorized', { status: 401, statusText: 'Unauthorized', headers })),
    });
    const answer = await answered(url);
    assert.deepEqual([answer.status, answer.statusText, answer.body], [401, 'Unauthorized', 'unauthorized']);
    assert.equal(answer.headers['x-error'], 'unauthorized');
    assert.equal(answer.headers['www-authenticate'], 'Bearer realm="crossws"');
    assert.match(answer.headers['content-type'], /^text\/plain/);
    assert.equal(adapter.manager.connections.size, 0);
  });
}

test('upgrade sets headers and cookies of the 101', async () => {
  const headers = new Headers({ 'x-powered-by': 'crossws' });
  headers.append('set-cookie', 'a=1; SameSite=None; Secure');
  headers.append('set-cookie', 'b=2');
  const { connect } = await serve({ upgrade: () => ({ headers }) });
  const client = await connect();
  assert.equal(client.headers['x-powered-by'], 'crossws');
  assert.deepEqual(client.headers['set-cookie'], ['a=1; SameSite=None; Secure', 'b=2']);
});

test('upgrade chooses the subprotocol; none is chosen by itself', async () => {
  const { connect } = await serve({
    upgrade: (request) =>
      request.headers.get('sec-websocket-protocol')?.includes('two')
        ? { headers: { 'sec-websocket-protocol': 'two' } }
        : undefined,
    open: (peer) => peer.send(peer.websocket.protocol),
  });
  const chosen = await connect('/', ['one', 'two']);
  assert.deepEqual([chosen.socket.protocol, await chosen.next()], ['two', 'two']);
  const options = { perMessageDeflate: false, headers: { 'sec-websocket-protocol': 'unsupported' } };
  const plain = new WebSocket(chosen.socket.url, options);
  const [response] = await once(plain, 'upgrade');
  assert.equal(response.headers['sec-websocket-protocol'], undefined);
  plain.terminate();
});

test('peer.request, peer.context, peer.remoteAddress and peer.websocket', async () => {
  const { connect, url } = await serve({
    upgrade: () => ({ context: { test: '1' } }),
    message(peer) {
      const { readyState, bufferedAmount } = peer.websocket;
      const { url, headers } = peer.request;
      peer.send({
        url,
        tag: headers.get('x-test'),
        context: peer.context,
        remoteAddress: peer.remoteAddress,
        ws: [readyState, bufferedAmount, peer.websocket.url],
        buffered: peer.bufferedAmount,
      });
    },
  });
  const client = await connect('/?foo=bar', [], { 'x-test': '1' });
  client.send('debug');
  assert.deepEqual(JSON.parse(await client.next()), {
    url: `${url.replace('ws', 'http')}/?foo=bar`,
    tag: '1',
    context: { test: '1' },
    remoteAddress: '127.0.0.1',
    ws: [1, 0, `${url}/?foo=bar`],
    buffered: 0,
  });
});

test('peer.waitForDrain', async () => {
  const { connect } = await serve({
    message: (peer) => peer.waitForDrain({ pollInterval: 5 }).then(() => peer.send('drained')),
  });
  const client = await connect();
  client.send('x');
  assert.equal(await client.next(), 'drained');
});

test('subscribe, publish to the others, unsubscribe; the adapter publishes to all', async () => {
  const { connect, adapter } = await serve({
    open(peer) {
      peer.subscribe('chat');
      peer.send('welcome');
    },
    message(peer, message) {
      if (message.text() === 'leave') peer.unsubscribe('chat');
      else peer.publish('chat', message.text());
      peer.send('done');
    },
  });
  const one = await connect();
  const two = await connect();
  assert.deepEqual([await one.next(), await two.next()], ['welcome', 'welcome']);
  one.send('hello');
  assert.deepEqual([await one.next(), await two.next()], ['done', 'hello']);
  adapter.publish('chat', 'to all');
  assert.deepEqual([await one.next(), await two.next()], ['to all', 'to all']);
  two.send('leave');
  assert.equal(await two.next(), 'done');
  adapter.publish('chat', { only: 'one' });
  two.send('next');
  assert.deepEqual([await one.next(), await two.next()], ['{"only":"one"}', 'done']);
});

test('namespaces: peers, publish, and what upgrade names', async () => {
  const { connect, adapter } = await serve({
    upgrade: ({ url }) => (url.endsWith('/named') ? { namespace: 'other' } : undefined),
    open(peer) {
      peer.subscribe('chat');
      peer.send({ namespace: peer.namespace, peers: [...peer.peers].length });
    },
  });
  const [a, b, named] = [await connect('/a'), await connect('/b'), await connect('/named')];
  const hello = [];
  for (const client of [a, b, named]) hello.push(JSON.parse(await client.next()));
  assert.deepEqual(hello, [
    { namespace: '/a', peers: 1 },
    { namespace: '/b', peers: 1 },
    { namespace: 'other', peers: 1 },
  ]);
  assert.deepEqual([...adapter.peers.keys()], ['/a', '/b', 'other']);
  adapter.publish('chat', 'for b', { namespace: '/b' });
  adapter.publish('chat', 'for all');
  assert.deepEqual([await a.next(), await b.next(), await named.next()], ['for all', 'for b', 'for all']);
});

test('close: from here, from the client, and its code and reason', async () => {
  const ends = [];
  let ended;
  const both = new Promise((resolve) => {
    ended = resolve;
  });
  const { connect, adapter } = await serve({
    message: (peer) => peer.close(4000, 'bye'),
    close(_peer, details) {
      ends.push(details);
      if (ends.length === 2) ended();
    },
  });
  const one = await connect();
  one.send('close me');
  assert.deepEqual(await one.closed, { code: 4000, reason: 'bye' });
  const two = await connect();
  two.socket.close(4001, 'mine');
  await both;
  assert.deepEqual(ends, [
    { code: 4000, reason: 'bye' },
    { code: 4001, reason: 'mine' },
  ]);
  assert.equal([...adapter.peers.get('/')].length, 0);
});

test('error: a client that is lost, and then close', async () => {
  const told = [];
  let ended;
  const end = new Promise((resolve) => {
    ended = resolve;
  });
  const { connect } = await serve({
    open: (peer) => peer.send('welcome'),
    error: (_peer, error) => told.push(error.name),
    close(_peer, { code }) {
      told.push(code);
      ended();
    },
  });
  const client = await connect();
  await client.next();
  client.socket.terminate();
  await end;
  assert.deepEqual(told, ['WSError', 1006]);
});

test('a hook that throws ends in an error event of the manager', async () => {
  const { connect, adapter } = await serve({
    message() {
      throw new Error('broken');
    },
  });
  const failed = once(adapter.manager, 'error');
  const client = await connect();
  client.send('x');
  const [{ code, cause }] = await failed;
  assert.deepEqual([code, cause.message], ['ERR_LISTENER', 'broken']);
});

test('the adapter closes all peers', async () => {
  const { connect, adapter } = await serve({ open: (peer) => peer.send('welcome') });
  const clients = [await connect('/a'), await connect('/b')];
  for (const client of clients) assert.equal(await client.next(), 'welcome');
  await adapter.close(4000, 'over');
  for (const client of clients) assert.deepEqual(await client.closed, { code: 4000, reason: 'over' });
});

test('peer.terminate, peer.ping and peer.close without a code', async () => {
  const { connect } = await serve({
    message(peer, message) {
      if (message.text() === 'ping') peer.ping('are you there');
      else if (message.text() === 'close') peer.close();
      else peer.terminate();
    },
  });
  const [pinged, closed, terminated] = await Promise.all(['/1', '/2', '/3'].map((path) => connect(path)));
  const ping = once(pinged.socket, 'ping');
  pinged.send('ping');
  assert.equal(String(await ping), 'are you there');
  closed.send('close');
  assert.equal((await closed.closed).code, 1005);
  terminated.socket.on('error', () => {});
  terminated.send('terminate');
  assert.equal((await terminated.closed).code, 1006);
  pinged.socket.terminate();
});
