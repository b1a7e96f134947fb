'use strict';

const { once } = require('node:events');
const WebSocket = require('ws');
const { RawClient, upgradeRequest } = require('./support/client');
const { host } = require('./support/host');

/** A client that is not let in. Resolves with the HTTP status, or the close code. */
function knock(url, options) {
  const socket = new WebSocket(url, { perMessageDeflate: false, ...options });
  socket.on('error', () => {});
  return new Promise((resolve) => {
    socket.on('unexpected-response', (_request, { statusCode }) => resolve(statusCode));
    socket.on('close', resolve);
  });
}

const jwt = { secret: 'x'.repeat(32), query: 'token' };

describe("'refused'", () => {
  test('says why a client may not connect, without its token', async () => {
    const { manager, url } = await host({ auth: { jwt } });
    const told = once(manager, 'refused');
    const options = { headers: { Origin: new URL(url).origin.replace('ws', 'http') } };
    expect(await knock(`${url}?room=1&token=secret.token`, options)).toBe(401);
    const [refusal] = await told;
    expect(refusal).toEqual({
      code: 'ERR_TOKEN_INVALID',
      message: expect.stringContaining('token'),
      url: `${new URL(url).pathname}?room=[redacted]&token=[redacted]`,
      remoteAddress: '127.0.0.1',
      origin: options.headers.Origin,
    });
    expect(refusal.message).not.toContain('secret');
  });

  test.each([
    ['jwt', { jwt: { secret: 'x'.repeat(32) } }],
    ['authenticate', { authenticate: () => null }],
  ])('shows no token that is in the URL although %s does not look for it there', async (_what, auth) => {
    const { manager, url } = await host({ auth });
    const told = once(manager, 'refused');
    expect(await knock(`${url}?room=1&t=Bearer%20opaque&${'b3BhcXVl'}==`)).toBe(401);
    const [refusal] = await told;
    expect(refusal.url).toBe(`${new URL(url).pathname}?room=[redacted]&t=[redacted]&[redacted]`);
  });

  test.each([
    ['in the userinfo', 'http://ada:opaque@localhost/api/websocket?a=1', '/api/websocket?a=[redacted]'],
    ['in the fragment', '/api/websocket?a=1#access_token=opaque', '/api/websocket?a=[redacted]'],
  ])('shows no token that is %s', async (_where, target, shown) => {
    const { manager, port } = await host({ path: '/api/websocket', auth: { authenticate: () => null } });
    const told = once(manager, 'refused');
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest(target));
    expect((await told)[0].url).toBe(shown);
    client.socket.destroy();
  });

  test('shows no more of an origin than scheme, host and port', async () => {
    const { manager, url } = await host();
    const told = once(manager, 'refused');
    const headers = { Origin: 'https://ada:opaque@evil.example/?token=opaque' };
    expect(await knock(url, { headers })).toBe(403);
    const [refusal] = await told;
    expect(refusal.origin).toBe('https://[redacted]@evil.example/[redacted]');
    expect(JSON.stringify(refusal)).not.toContain('opaque');
  });

  test('names all places in which a token is looked for', async () => {
    const { manager, url } = await host({ auth: { jwt: { ...jwt, cookie: 'session' } } });
    const told = once(manager, 'refused');
    expect(await knock(url)).toBe(401);
    const [{ code, message, origin }] = await told;
    expect({ code, origin }).toEqual({ code: 'ERR_TOKEN_MISSING', origin: undefined });
    for (const place of ['Authorization: Bearer', "['bearer', <token>]", "'token'", "'session'"]) {
      expect(message).toContain(place);
    }
  });

  test.each([
    ['a page of another host', { headers: { Origin: 'https://evil.example' } }, 'ERR_ORIGIN_REFUSED', 4403],
    ['who is not permitted', {}, 'ERR_UNAUTHORIZED', 4401],
  ])('tells of %s also where that is told by a close code', async (_who, options, code, closed) => {
    const { manager, url } = await host({ auth: { authenticate: () => null }, rejectWith: 'close' });
    const told = once(manager, 'refused');
    expect(await knock(url, options)).toBe(closed);
    expect((await told)[0]).toMatchObject({ code });
    expect(manager.stats().refused).toEqual({ [code]: 1 });
  });

  test('costs nothing where nobody listens any more', async () => {
    const { manager, url } = await host({ auth: { authenticate: () => null } });
    const listener = jest.fn();
    manager.on('refused', listener);
    await knock(url);
    manager.off('refused', listener);
    await knock(url);
    expect(manager.stats().refused).toEqual({ ERR_UNAUTHORIZED: 2 });
    expect(listener).toHaveBeenCalledTimes(1);
  });
});
