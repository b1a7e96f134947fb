'use strict';

const http = require('node:http');
const https = require('node:https');
const os = require('node:os');
const path = require('node:path');
const { mkdtempSync, rmSync } = require('node:fs');
const { once } = require('node:events');
const { certificate } = require('./support/certificate');
const { closeAfterwards } = require('./support/cleanup');
const { connect } = require('./support/client');
const { host, listening, manage } = require('./support/host');

/** Headers of a client that wants to be somebody else, with a proxy's additions. */
const headers = {
  'X-Forwarded-For': '198.51.100.7, 192.0.2.1',
  Forwarded: 'for=198.51.100.8, for="[2001:db8::1]:80"',
};

/** A folder that goes with the test. */
function folder() {
  const made = mkdtempSync(path.join(os.tmpdir(), 'actory-ws-'));
  closeAfterwards(() => rmSync(made, { recursive: true }));
  return made;
}

describe('the address of a client', () => {
  test.each([
    ['nobody, by default', {}, '127.0.0.1'],
    ['nobody', { trustProxy: false }, '127.0.0.1'],
    ['somebody else', { trustProxy: ['10.0.0.0/8', 'unix'] }, '127.0.0.1'],
    ['the peer', { trustProxy: '127.0.0.1' }, '192.0.2.1'],
    ['its network', { trustProxy: ['loopback'] }, '192.0.2.1'],
    ['the peer and the one before it', { trustProxy: ['loopback', '192.0.2.0/24'] }, '198.51.100.7'],
    ['one proxy', { trustProxy: 1 }, '192.0.2.1'],
    ['two proxies', { trustProxy: 2 }, '198.51.100.7'],
    ['the peer, by Forwarded', { trustProxy: 'loopback', proxyHeader: 'forwarded' }, '2001:db8::1'],
  ])('where %s is trusted', async (_who, options, expected) => {
    const { pair } = await host(options);
    const { connection } = await pair({ headers });
    expect(connection.remoteAddress).toBe(expected);
  });

  test('is the same for authenticate, which sees the headers as they came', async () => {
    let asked;
    const auth = {
      authenticate(request) {
        asked = request;
        return { userId: 'ada' };
      },
    };
    const { pair } = await host({ auth, trustProxy: 'loopback' });
    const { connection } = await pair({ headers });
    expect([asked.remoteAddress, connection.remoteAddress]).toEqual(['192.0.2.1', '192.0.2.1']);
    expect(asked.headers['x-forwarded-for']).toBe(headers['X-Forwarded-For']);
  });

  test('is taken from all lines of the header', async () => {
    const { pair } = await host({ trustProxy: 'loopback' });
    const { connection } = await pair({
      headers: { 'X-Forwarded-For': ['198.51.100.7', '192.0.2.1', '127.0.0.9'] },
    });
    expect(connection.remoteAddress).toBe('192.0.2.1');
  });

  test.each(['unknown', '_hidden', 'rubbish'])('is empty where a trusted proxy says %s', async (said) => {
    const { pair } = await host({ trustProxy: 'loopback' });
    const { connection } = await pair({ headers: { 'X-Forwarded-For': `198.51.100.7, ${said}` } });
    expect(connection.remoteAddress).toBe('');
  });

  test('is told by a proxy that comes over IPv6, as which IPv4 may be dressed', async () => {
    const server = http.createServer();
    const manager = manage(server, { trustProxy: '127.0.0.1' });
    server.listen(0, '::');
    await once(server, 'listening');
    closeAfterwards(() => server.close());
    const met = once(manager, 'connection');
    await connect(`ws://127.0.0.1:${server.address().port}/api/websocket`, { headers });
    expect((await met)[0].remoteAddress).toBe('192.0.2.1');
  });

  test.each([
    ['unix', '192.0.2.1'],
    ['loopback', ''],
    [1, '192.0.2.1'],
  ])('on a Unix-domain socket, where %s is trusted', async (trustProxy, expected) => {
    const file = path.join(folder(), 'socket');
    const server = http.createServer();
    const manager = manage(server, { trustProxy });
    await listening(server, file);
    const met = once(manager, 'connection');
    await connect(`ws+unix:${file}:/api/websocket`, { headers });
    expect((await met)[0].remoteAddress).toBe(expected);
  });

  test('over TLS', async () => {
    const server = https.createServer(certificate());
    const { manager, port } = await host({ trustProxy: 'loopback' }, server);
    const met = once(manager, 'connection');
    await connect(`wss://127.0.0.1:${port}/api/websocket`, { headers, rejectUnauthorized: false });
    expect((await met)[0].remoteAddress).toBe('192.0.2.1');
  });

  test('of a stream of the application is not believed to be a Unix-domain socket', async () => {
    const { server, manager, pair } = await host({ trustProxy: 'unix' });
    server.on('connection', (socket) => {
      Object.defineProperty(socket, 'remoteAddress', { value: undefined });
    });
    const { connection } = await pair({ headers });
    expect(connection.remoteAddress).toBe('');
    expect(manager.connections.size).toBe(1);
  });
});
