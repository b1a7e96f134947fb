'use strict';

const { host } = require('./support/host');
const { SECRET, sign } = require('./support/token');

const byToken = { jwt: { secret: SECRET, query: 'token' } };
const nobodyAsked = { authenticate: () => ({ userId: 'ada' }) };

describe('connection.request', () => {
  test.each([
    ['auth.jwt', byToken],
    ['auth.authenticate', nobodyAsked],
    ['anonymous', 'anonymous'],
  ])('has the url and the named headers under %s', async (_what, auth) => {
    const { pair, url } = await host({ auth, keepHeaders: ['User-Agent', 'x-tag', 'x-missing'] });
    const token = sign({ sub: 'ada' });
    const headers = {
      'User-Agent': 'tests',
      'X-Tag': 'a, b',
      Cookie: 'secret=1',
      authorization: `Bearer ${token}`,
    };
    const { client, connection } = await pair({ headers }, `${url}?room=1`);
    const { request } = connection;
    expect(request.url).toBe('/api/websocket?room=1');
    expect({ ...request.headers }).toEqual({ 'user-agent': 'tests', 'x-tag': 'a, b' });
    expect(connection.request).toBe(request);
    expect([request, request.headers].every(Object.isFrozen)).toBe(true);
    await client.close();
    expect(connection.request).toBe(request);
  });

  test('has no token of the parameter that carries it', async () => {
    const { pair, url } = await host({ auth: byToken, keepHeaders: [] });
    const { connection } = await pair({}, `${url}?a=1&token=${sign({ sub: 'ada' })}&b=2`);
    expect(connection.request).toEqual({ url: '/api/websocket?a=1&token=[redacted]&b=2', headers: {} });
  });

  test('is there for connections that JavaScript looks at late', async () => {
    const { manager, connect, url } = await host({ keepHeaders: ['x-tag'] });
    await connect({ headers: { 'X-Tag': 'a' } }, `${url}?late`);
    const [connection] = manager.connections;
    expect(connection.request).toMatchObject({ url: '/api/websocket?late', headers: { 'x-tag': 'a' } });
  });

  test('is undefined where nobody asked for it', async () => {
    const { pair } = await host();
    const { connection } = await pair();
    expect(connection.request).toBeUndefined();
  });

  test('is that of handleUpgrade, too', async () => {
    const { server, manager, connect, port } = await host({ keepHeaders: ['host'] });
    const taken = new Promise((resolve) => {
      server.on('upgrade', (...upgrade) => resolve(manager.handleUpgrade(...upgrade, { userId: 1 })));
    });
    await connect({}, `ws://127.0.0.1:${port}/mine?a`);
    const { request } = await taken;
    expect(request).toMatchObject({ url: '/mine?a', headers: { host: `127.0.0.1:${port}` } });
  });
});
