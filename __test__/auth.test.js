'use strict';

const { once } = require('node:events');
const { closeAdvice } = require('..');
const { host } = require('./support/host');
const { RawClient, connect, refused, upgradeRequest } = require('./support/client');
const { SECRET, inAnHour, sign, signText } = require('./support/token');

const byJwt = (jwt) => ({ auth: { jwt: { secret: SECRET, ...jwt } } });
const bearer = (token) => ({ headers: { authorization: `Bearer ${token}` } });
/** A host whose function says who connects. */
const asking = (authenticate, options) => host({ relay: false, ...options, auth: { authenticate } });
/** The next 'error' of a manager. A tuple, for `once` of 'error' would reject. */
const nextError = (manager) => new Promise((resolve) => manager.once('error', resolve));

describe("auth: 'anonymous'", () => {
  test('makes each connection a user of its own', async () => {
    const { pair, manager } = await host();
    const a = await pair();
    const b = await pair();
    expect(a.connection.userId).toMatch(/^[\w-]{20,}$/);
    expect(a.connection.userId).not.toBe(b.connection.userId);
    expect(a.connection.data).toBeUndefined();
    expect(manager.connections.userCount).toBe(2);
  });
});

describe('auth.jwt', () => {
  test('takes the user id and the data from the claims', async () => {
    const { pair } = await host(byJwt());
    const { connection } = await pair(bearer(sign({ sub: 'u1', theme: 'dark' })));
    expect(connection.userId).toBe('u1');
    expect(connection.data).toMatchObject({ sub: 'u1', theme: 'dark' });
    expect(connection.data).toBe(connection.data);
    connection.data.seen = true;
    expect(connection.data.seen).toBe(true);
    connection.data = 5;
    expect(connection.data).toBe(5);
  });

  test('makes a numeric claim decimal', async () => {
    const { pair } = await host(byJwt({ userIdClaim: 'uid' }));
    const { connection } = await pair(bearer(sign({ uid: 42 })));
    expect(connection.userId).toBe('42');
  });

  test('makes a number decimal however it is written, and refuses what JavaScript would read as another', async () => {
    const { pair, refused: refuse } = await host(byJwt());
    const written = (sub) => bearer(signText(`{"sub":${sub},"exp":${inAnHour()}.0}`));
    for (const number of ['10000', '1e4', '10000.0']) {
      const { connection } = await pair(written(number));
      expect([connection.userId, connection.data.sub]).toEqual(['10000', 10_000]);
    }
    const { status, body } = await refuse(written('9007199254740993'));
    expect([status, body.code]).toEqual([401, 'ERR_TOKEN_INVALID']);
    expect(body.message).toContain('2^53');
  });

  test('leaves a claim with half a character as JSON.parse reads it, unless it is the user id', async () => {
    const { pair, refused: refuse } = await host(byJwt());
    const claims = {
      sub: 'ada',
      name: 'Party 🎉'.slice(0, 7),
      '\udf89': { deep: ['\ud83c'] },
      exp: inAnHour(),
    };
    expect((await pair(bearer(sign(claims)))).connection.data).toEqual(claims);
    const { status, body } = await refuse(bearer(sign({ sub: 'ada\ud83c' })));
    expect([status, body.code]).toEqual([401, 'ERR_TOKEN_INVALID']);
    expect(body.message).toContain('lone surrogate');
  });

  test('refuses two claims of one name, of which connection.data would have the other', async () => {
    const { refused: refuse } = await host(byJwt());
    const twice = signText(`{"sub":"ada","exp":${inAnHour()},"\\u0073ub":"bob"}`);
    expect(await refuse(bearer(twice))).toMatchObject({ status: 401, body: { code: 'ERR_TOKEN_INVALID' } });
  });

  test.each(['null', '[]', '["exp"]'])('refuses a header with crit: %s', async (crit) => {
    const { refused: refuse } = await host(byJwt());
    const claims = JSON.stringify({ sub: 'u', exp: inAnHour() });
    const token = signText(claims, SECRET, `{"alg":"HS256","crit":${crit}}`);
    expect(await refuse(bearer(token))).toMatchObject({ status: 401, body: { code: 'ERR_TOKEN_INVALID' } });
  });

  test('refuses a token for an audience where none is named', async () => {
    const { refused: refuse } = await host(byJwt());
    const { status, body } = await refuse(bearer(sign({ sub: 'u', aud: 'mail' })));
    expect([status, body.code]).toEqual([401, 'ERR_TOKEN_INVALID']);
    expect(body.message).toContain('auth.jwt.audience');
  });

  test.each([['mail'], [['chat', 'mail']], [false]])('takes it with audience: %j', async (audience) => {
    const { pair } = await host(byJwt({ audience }));
    expect((await pair(bearer(sign({ sub: 'u', aud: 'mail' })))).connection.userId).toBe('u');
  });

  test('refuses two different cookies of the name, of which a sibling host may have set one', async () => {
    const { pair, refused: refuse } = await host(byJwt({ cookie: 'session' }));
    const cookies = (...tokens) => ({
      headers: { cookie: tokens.map((token) => `session=${token}`).join('; ') },
    });
    const [ada, eve] = [sign({ sub: 'ada' }), sign({ sub: 'eve' })];
    for (const pairOf of [cookies(ada, eve), cookies(eve, ada), cookies(ada, 'x')]) {
      expect(await refuse(pairOf)).toMatchObject({ status: 401, body: { code: 'ERR_TOKEN_INVALID' } });
    }
    expect((await pair(cookies(ada, ada))).connection.userId).toBe('ada');
  });

  test('takes a short secret where that is permitted', async () => {
    const { pair } = await host({ auth: { jwt: { secret: 'short', allowShortSecret: true } } });
    expect((await pair(bearer(sign({ sub: 'u' }, 'short')))).connection.userId).toBe('u');
  });

  test('takes the token from the subprotocols and never echoes it', async () => {
    const { pair } = await host(byJwt());
    const { client, connection } = await pair({ protocols: ['bearer', sign({ sub: 'u2' })] });
    expect(client.socket.protocol).toBe('bearer');
    expect(connection.userId).toBe('u2');
  });

  test('takes the token from the query and a cookie where that is switched on', async () => {
    const { pair, url } = await host(byJwt({ query: 'token', cookie: 'session' }));
    expect((await pair({}, `${url}?token=${sign({ sub: 'q' })}`)).connection.userId).toBe('q');
    const cookie = { headers: { cookie: `a=b; session=${sign({ sub: 'c' })}` } };
    expect((await pair(cookie)).connection.userId).toBe('c');
  });

  test.each([
    ['none', {}, 'ERR_TOKEN_MISSING'],
    ['one of another secret', bearer(sign({ sub: 'u' }, 'another secret')), 'ERR_TOKEN_INVALID'],
    ['one that has expired', bearer(sign({ sub: 'u', exp: 1 })), 'ERR_TOKEN_EXPIRED'],
    ['one without a user', bearer(sign({})), 'ERR_TOKEN_INVALID'],
  ])('refuses %s', async (_what, client, code) => {
    const context = await host(byJwt());
    const answer = await context.refused(client);
    expect(answer).toMatchObject({ status: 401, body: { code, message: expect.any(String) } });
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer/);
    expect(context.manager.stats().refused).toEqual({ [code]: 1 });
  });

  test('closes a connection whose token expires, with 4001', async () => {
    const { connect: open } = await host(byJwt({ leewaySeconds: 0 }));
    const client = await open(bearer(sign({ sub: 'u', exp: Math.floor(Date.now() / 1000) + 2 })));
    expect((await client.closed).code).toBe(4001);
  });

  test('tells a client that comes back with that token the same, where a close code can tell it', async () => {
    const { url } = await host({ ...byJwt(), rejectWith: 'close' });
    const expired = sign({ sub: 'u', exp: 1 });
    for (const options of [bearer(expired), { protocols: ['bearer', expired] }]) {
      const closed = await (await connect(url, options)).closed;
      expect(closed).toMatchObject({ code: 4001, reason: 'ERR_TOKEN_EXPIRED' });
      expect(closeAdvice(closed.code)).toBe('refresh');
    }
    const none = await (await connect(url)).closed;
    expect([none.code, closeAdvice(none.code)]).toEqual([4401, 'refresh']);
    // A client that offers subprotocols takes no 101 without one of them.
    const choosy = await connect(url, { protocols: ['chat', 'other'] });
    expect([choosy.socket.protocol, (await choosy.closed).code]).toEqual(['chat', 4401]);
    // Never the token.
    const secret = await connect(url, { protocols: ['bearer', 'no.to.ken', 'chat'] });
    expect([secret.socket.protocol, (await secret.closed).code]).toEqual(['bearer', 4401]);
  });

  test('comes from JWT_SECRET where there is no option', async () => {
    process.env.JWT_SECRET = SECRET;
    try {
      const { pair } = await host({ auth: undefined });
      expect((await pair(bearer(sign({ sub: 'env' })))).connection.userId).toBe('env');
    } finally {
      delete process.env.JWT_SECRET;
    }
  });
});

describe('auth.authenticate', () => {
  const throwing = (value) => {
    throw value;
  };
  const leak = () => throwing(new Error('the database password is 123'));

  test('is asked with the request, and says who it is', async () => {
    const requests = [];
    const data = { session: new Map([['a', 1]]) };
    const { pair, port } = await asking((request) => {
      requests.push(request);
      return { userId: 7, rooms: ['lobby', 8], data };
    });
    const { connection } = await pair(
      { headers: { 'x-tenant': 'acme' } },
      `ws://127.0.0.1:${port}/api/websocket?who=me`,
    );
    expect(requests).toEqual([
      {
        url: '/api/websocket?who=me',
        method: 'GET',
        headers: expect.objectContaining({ 'x-tenant': 'acme', upgrade: 'websocket' }),
        remoteAddress: '127.0.0.1',
      },
    ]);
    expect(connection.userId).toBe('7');
    expect(connection.rooms.sort()).toEqual(['8', 'lobby']);
    expect(connection.data).toBe(data);
  });

  test('gives at most limits.roomsPerConnection rooms, of which one that is named twice counts once', async () => {
    let rooms = ['a', 'b', 'b', 7, '7'];
    const { manager, pair, refused } = await asking(() => ({ userId: 'u', rooms }), {
      limits: { roomsPerConnection: 3 },
    });
    const { connection } = await pair();
    expect(connection.rooms.sort()).toEqual(['7', 'a', 'b']);

    rooms = [...rooms, 'c'];
    const failed = nextError(manager);
    expect(await refused()).toMatchObject({ status: 500, body: { code: 'ERR_INVALID_IDENTITY' } });
    expect((await failed).message).toContain('at most limits.roomsPerConnection (3) rooms; got 4');
  });

  test('keeps its data for a connection that nobody listened for', async () => {
    const data = {};
    const { connect: open, manager } = await asking(async () => ({ userId: 'u', data }));
    await open();
    const [connection] = manager.connections.ofUser('u');
    expect(connection.data).toBe(data);
  });

  test('is called as a method of its object', async () => {
    class Auth {
      #users = ['me'];
      authenticate() {
        return { userId: this.#users[0] };
      }
    }
    const { pair } = await host({ auth: new Auth() });
    expect((await pair()).connection.userId).toBe('me');
  });

  test.each([
    ['null', () => null],
    ['undefined', () => undefined],
    ['false', async () => false],
  ])('refuses by %s with 401', async (_what, authenticate) => {
    const context = await asking(authenticate);
    expect(await context.refused()).toMatchObject({ status: 401, body: { code: 'ERR_UNAUTHORIZED' } });
  });

  test.each([
    ['throws', leak],
    ['rejects', async () => leak()],
    ['answers with a thenable that throws', () => Object.defineProperty({}, 'then', { value: leak })],
    ['answers with a getter that throws', () => Object.defineProperty({}, 'then', { get: leak })],
    ['throws something odd', () => throwing(Object.create(null))],
    ['throws nothing', () => throwing(undefined)],
  ])('that %s gets 500 without the reason, and an error event with it', async (what, authenticate) => {
    const context = await asking(authenticate);
    const failed = nextError(context.manager);
    const answer = await context.refused();
    expect(answer).toMatchObject({ status: 500, body: { code: 'ERR_AUTH_FAILED' } });
    expect(JSON.stringify(answer)).not.toContain('password');
    const error = await failed;
    expect(error.code).toBe('ERR_AUTH_FAILED');
    if (!what.includes('something') && !what.includes('nothing'))
      expect(error.cause.message).toContain('password');
  });

  const tooMany = 'ä'.repeat(129);
  test.each([
    ['true', true],
    ['a string', 'u'],
    ['no user', {}],
    ['an empty user', { userId: '' }],
    ['a long user', { userId: tooMany }],
    ['half a character', { userId: '\ud800' }],
    ['a fraction', { userId: 1.5 }],
    ['NaN', { userId: Number.NaN }],
    ['a huge number', { userId: 2 ** 60 }],
    ['a bigint', { userId: 1n }],
    ['rooms that are no array', { userId: 'u', rooms: 'lobby' }],
    ['an empty room', { userId: 'u', rooms: [''] }],
    ['more rooms than its limit', { userId: 'u', rooms: Array.from({ length: 1001 }, (_, n) => n) }],
    ['a hole for a room', { userId: 'u', rooms: new Array(1) }],
    ['a number as expiry', { userId: 'u', expiresAt: 5 }],
    ['an invalid date', { userId: 'u', expiresAt: new Date('x') }],
    [
      'a getter that throws',
      {
        get userId() {
          throw new Error('x');
        },
      },
    ],
    [
      'a revoked proxy',
      (() => {
        const { proxy, revoke } = Proxy.revocable({}, {});
        revoke();
        return proxy;
      })(),
    ],
  ])('that answers with %s gets 500 and an error event', async (what, identity) => {
    const context = await asking(() => identity);
    const failed = nextError(context.manager);
    // A value that can't be looked at for a `then` counts as thrown.
    const code = what === 'a revoked proxy' ? 'ERR_AUTH_FAILED' : 'ERR_INVALID_IDENTITY';
    expect(await context.refused()).toMatchObject({ status: 500, body: { code } });
    expect(await failed).toMatchObject({ code, cause: expect.anything() });
  });

  test('that never settles gets 408 at the deadline', async () => {
    const context = await asking(() => new Promise(() => {}), { limits: { handshakeTimeoutMs: 50 } });
    expect(await context.refused()).toMatchObject({ status: 408, body: { code: 'ERR_HANDSHAKE_TIMEOUT' } });
    while (context.manager.stats().handshakes > 0) await new Promise(setImmediate);
  });

  test.each([
    ['an identity', () => ({ userId: 'late', data: {} })],
    ['null', () => null],
    ['nonsense', () => ({})],
    ['an error', () => Promise.reject(new Error('late'))],
  ])('that settles with %s after the deadline changes nothing', async (_what, answer) => {
    let settle;
    const authenticate = () =>
      new Promise((resolve) => {
        settle = () => resolve(answer());
      });
    const context = await asking(authenticate, { limits: { handshakeTimeoutMs: 50 } });
    const failed = jest.fn();
    context.manager.on('error', failed);
    const told = once(context.manager, 'refused');
    expect((await context.refused()).status).toBe(408);
    await told;
    await new Promise(setImmediate);
    settle();
    await new Promise(setImmediate);
    // Nobody waits for the answer any more, and the request's signal has said so.
    expect(failed).not.toHaveBeenCalled();
    expect(context.manager.connections.size).toBe(0);
  });

  test('that settles after the client left changes nothing', async () => {
    let settle;
    const authenticate = jest.fn(() => ({ userId: 'stays' }));
    const called = new Promise((resolve) => {
      authenticate.mockImplementationOnce(() => {
        resolve();
        return new Promise((answer) => {
          settle = () => answer({ userId: 'gone', data: {} });
        });
      });
    });
    const { port, manager, pair } = await asking(authenticate);
    const client = new RawClient({ port, host: '127.0.0.1' });
    client.write(upgradeRequest());
    await called;
    client.socket.destroy();
    while (manager.stats().handshakes > 0) await new Promise(setImmediate);
    settle();
    await pair();
    expect(manager.connections.users()).toEqual(['stays']);
  });

  test('gives a connection until expiresAt', async () => {
    const { connect: open } = await asking(() => ({ userId: 'u', expiresAt: new Date(Date.now() + 200) }));
    const client = await open();
    expect((await client.closed).code).toBe(4001);
  });

  test.each([-5, Date.now() - 1000])('refuses an identity that is over: %d', async (ms) => {
    const { refused: refuse } = await asking(() => ({ userId: 'u', expiresAt: new Date(ms) }));
    expect(await refuse()).toMatchObject({ status: 401, body: { code: 'ERR_TOKEN_EXPIRED' } });
  });

  test('that answers with a key that no identity has is told which', async () => {
    const context = await asking(() => ({ userId: 'u', room: 'lobby' }));
    const failed = nextError(context.manager);
    expect(await context.refused()).toMatchObject({ status: 500, body: { code: 'ERR_INVALID_IDENTITY' } });
    expect((await failed).message).toContain('"room"');
  });
});

describe('the origin', () => {
  test('must be the host by default', async () => {
    const context = await host();
    await context.connect({ origin: `http://127.0.0.1:${context.port}` });
    expect(await context.refused({ origin: 'https://evil.example' })).toMatchObject({
      status: 403,
      body: { code: 'ERR_ORIGIN_REFUSED' },
    });
  });

  test('may be one of a list', async () => {
    const context = await host({ allowedOrigins: ['https://*.example.com'] });
    await context.connect({ origin: 'https://app.example.com' });
    expect((await context.refused({ origin: 'https://example.org' })).status).toBe(403);
  });
});

describe('rejectWith', () => {
  test("'close' opens, and closes with a code that scripts can see", async () => {
    const { url } = await host({ ...byJwt(), rejectWith: 'close' });
    const client = await connect(url);
    expect((await client.closed).code).toBe(4401);
  });

  test('tells that an identity is over as it does while it is connected', async () => {
    const authenticate = () => ({ userId: 'u', expiresAt: new Date(0) });
    const { url } = await host({ auth: { authenticate }, rejectWith: 'close' });
    const client = await connect(url);
    expect((await client.closed).code).toBe(4001);
  });

  test("'http' is the default", async () => {
    const { url } = await host(byJwt());
    expect((await refused(url)).status).toBe(401);
  });
});

test('subprotocols: the first of ours that the client offers', async () => {
  const { pair, manager } = await host({ protocols: ['v2', 'v1'] });
  const { client, connection } = await pair({ protocols: ['v1', 'v2', 'x'] });
  expect([client.socket.protocol, connection.protocol]).toEqual(['v2', 'v2']);
  const gone = once(manager, 'disconnect');
  client.close();
  await gone;
  expect(connection.protocol).toBe('v2');
});
