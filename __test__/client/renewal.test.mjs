// Fresh tokens on a connection that is open.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { pair } from './support/lab.mjs';
import { serve, visit } from './support/server.mjs';

const require = createRequire(import.meta.url);
const { sign } = require('../support/token');
const TIMEOUT = { timeout: 60_000 };
const SECRET = 'a secret of at least thirty-two bytes';
const seconds = () => Math.floor(Date.now() / 1000);

describe('a client renews its token', TIMEOUT, () => {
  test('before it expires, so that the connection outlives it', async () => {
    const { manager, port } = await serve({ auth: { jwt: { secret: SECRET, leewaySeconds: 0 } } });
    let asked = 0;
    const token = () => {
      asked += 1;
      return sign({ sub: 'ada', exp: seconds() + 3 }, SECRET);
    };
    const { client, events } = await visit(() => port, '', undefined, { token });
    while (asked < 4) await setTimeout(50);
    assert.deepEqual([client.status, events.drain()], ['open', []]);
    assert.equal(manager.connections.size, 1);
  });

  test('and what a claim of the fresh one permits counts from then on', async () => {
    const auth = { jwt: { secret: SECRET, leewaySeconds: 0 } };
    const { port } = await serve({ auth, authorize: { claim: 'rooms' } });
    let rooms = ['tea'];
    const token = () => sign({ sub: 'ada', rooms, exp: seconds() + 3 }, SECRET);
    const { client } = await visit(() => port, '', undefined, { token });
    await assert.rejects(client.join('coffee'), { code: 'ERR_JOIN_REFUSED' });
    rooms = ['coffee'];
    for (;;) {
      const joined = await client.join('coffee').then(
        () => true,
        () => false,
      );
      if (joined) break;
      await setTimeout(50);
    }
    await assert.rejects(client.join('tea'), { code: 'ERR_JOIN_REFUSED' });
  });

  test('and the server takes none of another user, or an invalid one: the connection ends with the old one', async () => {
    const { port } = await serve({ auth: { jwt: { secret: SECRET, leewaySeconds: 0 } } });
    const wrong = [sign({ sub: 'bob' }, SECRET), 'x.y.z'];
    for (const bad of wrong) {
      let count = 0;
      const token = () => (count++ === 1 ? bad : sign({ sub: 'ada', exp: seconds() + 2 }, SECRET));
      const { client, next, status } = await visit(() => port, '', undefined, { token });
      const error = await next('error');
      assert.deepEqual([error.code, client.status], ['ERR_TOKEN', 'open']);
      assert.equal(error.cause.code, bad === 'x.y.z' ? 'ERR_TOKEN_INVALID' : 'ERR_UNAUTHORIZED');
      await status('waiting');
      await status('open');
      assert.equal(client.userId, 'ada');
      client.close();
    }
  });

  test('neither if it is one and the same, nor if it never expires', async (context) => {
    context.mock.method(Math, 'random', () => 0);
    const now = Date.now();
    const hello = {
      type: 'hello',
      userId: '42',
      connectionId: 'c',
      session: 's',
      now,
      heartbeatMs: 0,
      topics: [],
    };
    for (const [token, expiresAt, asks] of [
      ['fixed', now + 200, false],
      [() => 'fresh', undefined, false],
      [() => 'fresh', now + 4e12, false],
      [() => 'fresh', now + 200, true],
    ]) {
      const { server, connection, client } = await pair({ token });
      connection.socket.terminate();
      const again = await server.next();
      again.send({ ...hello, expiresAt });
      client.send('next');
      const received = [await again.next()];
      if (asks) {
        received.push(await again.next());
        assert.deepEqual(received[1], { type: 'renew', id: '2', token: 'fresh' });
      } else {
        await setTimeout(250);
        assert.deepEqual(again.received.drain(), []);
      }
    }
  });
});
