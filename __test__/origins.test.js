'use strict';

const https = require('node:https');
const { certificate } = require('./support/certificate');
const { RawClient, connect, refused, upgradeRequest } = require('./support/client');
const { host } = require('./support/host');

const secure = certificate();

/** The status that an upgrade with these headers gets. */
async function status(port, headers) {
  const client = new RawClient({ port, host: '127.0.0.1' });
  client.write(upgradeRequest('/api/websocket', headers));
  return Number(/^HTTP\/1\.1 (\d+)/.exec(await client.said('\r\n\r\n'))[1]);
}

describe('by default', () => {
  test.each([
    ['https://chat.example', 'chat.example'],
    ['https://chat.example', 'chat.example:443'],
    ['http://chat.example', 'chat.example'],
    ['http://localhost:3000', 'localhost:3000'],
    ['ws://localhost:3000', 'localhost:3000'],
    ['ws://chat.example', 'chat.example:80'],
    ['wss://chat.example', 'chat.example'],
    ['wss://chat.example', 'chat.example:443'],
    ['wss://chat.example:443', 'chat.example'],
  ])('%s is let in at %s', async (Origin, Host) => {
    const { port } = await host();
    expect(await status(port, { Origin, Host })).toBe(101);
  });

  test.each([
    ['wss://evil.example', 'chat.example'],
    ['ws://chat.example:81', 'chat.example'],
    ['wss://sub.chat.example', 'chat.example'],
    ['file://', 'chat.example'],
    ['null', 'chat.example'],
    ['app://chat.example', 'chat.example'],
  ])('%s is not let in at %s', async (Origin, Host) => {
    const { port } = await host();
    expect(await status(port, { Origin, Host })).toBe(403);
  });
});

test.each(['file://', 'null', 'content://', 'capacitor://localhost', 'wss://app.example'])(
  '%s can be named, and no other is let in then',
  async (origin) => {
    const { port } = await host({ allowedOrigins: [origin] });
    expect(await status(port, { Origin: origin })).toBe(101);
    for (const other of ['file://', 'null', 'http://127.0.0.1', 'file:///', 'NULL']) {
      if (other !== origin) expect(await status(port, { Origin: other })).toBe(403);
    }
  },
);

describe('where the client’s connection is TLS', () => {
  test('as ours is, a page without TLS is another origin', async () => {
    const { port, manager } = await host({}, https.createServer(secure));
    const url = `wss://127.0.0.1:${port}/api/websocket`;
    const told = [];
    manager.on('refused', ({ message }) => told.push(message));
    const as = (origin) => ({ origin, rejectUnauthorized: false });
    expect((await refused(url, as(`http://127.0.0.1:${port}`))).status).toBe(403);
    for (const scheme of ['https', 'wss', 'ws']) await connect(url, as(`${scheme}://127.0.0.1:${port}`));
    while (told.length === 0) await new Promise(setImmediate);
    expect(told[0]).toMatch(/without TLS.*allowedOrigins/);
  });

  test('such a page can be named', async () => {
    const server = https.createServer(secure);
    const { port } = await host({ allowedOrigins: ['http://chat.example'] }, server);
    const origin = 'http://chat.example';
    await connect(`wss://127.0.0.1:${port}/api/websocket`, { origin, rejectUnauthorized: false });
  });

  const plain = { Origin: 'http://chat.example', Host: 'chat.example' };
  test.each([
    ['a trusted proxy', { trustProxy: 'loopback' }, { 'X-Forwarded-Proto': 'https' }, 403],
    ['a trusted proxy', { trustProxy: 'loopback' }, { 'X-Forwarded-Proto': 'wss' }, 403],
    ['a trusted proxy', { trustProxy: 1 }, { 'X-Forwarded-Proto': 'http, https' }, 403],
    ['no trusted proxy', { trustProxy: 'loopback' }, { 'X-Forwarded-Proto': 'http' }, 101],
    ['no trusted proxy', { trustProxy: 'loopback' }, {}, 101],
    ['no trusted proxy', {}, { 'X-Forwarded-Proto': 'https' }, 101],
    ['no trusted proxy', { trustProxy: '10.0.0.0/8' }, { 'X-Forwarded-Proto': 'https' }, 101],
    [
      'a trusted proxy',
      { trustProxy: 'loopback', proxyHeader: 'forwarded' },
      { Forwarded: 'for=192.0.2.1;proto=https' },
      403,
    ],
    [
      'no trusted proxy',
      { trustProxy: 'loopback', proxyHeader: 'forwarded' },
      { 'X-Forwarded-Proto': 'https' },
      101,
    ],
  ])('as %s says, so it is: %j %j', async (_who, options, headers, expected) => {
    const { port } = await host(options);
    expect(await status(port, { ...plain, ...headers })).toBe(expected);
    expect(await status(port, { ...plain, ...headers, Origin: 'https://chat.example' })).toBe(101);
  });

  test('that is ours, a trusted proxy that says otherwise is believed', async () => {
    const { port } = await host({ trustProxy: 'loopback' }, https.createServer(secure));
    const headers = { 'X-Forwarded-Proto': 'http' };
    const origin = `http://127.0.0.1:${port}`;
    await connect(`wss://127.0.0.1:${port}/api/websocket`, { origin, headers, rejectUnauthorized: false });
  });
});
