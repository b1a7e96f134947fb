// npm run test:versions: versions of this package from the repository's history beside this one, each a process, on one Redis.
import assert from 'node:assert/strict';
import { afterEach, before, test } from 'node:test';
import { root } from '../../scripts/run.mjs';
import { build } from './build.mjs';
import { VERSIONS } from './versions.mjs';

globalThis.afterEach = afterEach; // The support of jest's tests takes it from there.
const { startRedis } = (await import('../support/redis.js')).default;
const { Peer } = await import('./peer.mjs');
const { exchange } = await import('./traffic.mjs');

/** A test that waits for something in vain fails after so long. */
const timeout = 120_000;

/** Folders by hash. */
const folders = new Map();

before(async () => {
  for (const { hash } of VERSIONS) folders.set(hash, await build(hash));
});

/** Asks until the answer is right: for what happens elsewhere, and nobody is told of. */
async function eventually(ask) {
  while (!(await ask())) await new Promise(setImmediate);
}

/** Waits until so many servers are there, of whatever version. */
const serversOf = (redis, count) =>
  eventually(async () => (await redis.subscribers('actory:control')) === count);

/** A server of an earlier version and one of this, with the same options but for those that only this one has. */
async function sideBySide(hash, { redis: more, ...options } = {}, onlyHere = {}) {
  const redis = await startRedis();
  const shared = { redis: { url: redis.url, ...more }, ...options };
  const old = await Peer.start(folders.get(hash), shared);
  const here = await Peer.start(root, { ...shared, ...onlyHere });
  return { redis, old, here, startOld: () => Peer.start(folders.get(hash), shared) };
}

const positions = (deliveries) => deliveries.map(({ position }) => position ?? null);

for (const { name, hash } of VERSIONS) {
  for (const history of [false, true]) {
    const onlyHere = history ? { history: true } : {};
    const suffix = history ? ', with history here' : '';

    test(`${name} and this version get each other's messages once and in order${suffix}`, {
      timeout,
    }, async () => {
      const { old, here } = await sideBySide(hash, {}, onlyHere);
      const deliveries = await exchange({ old, here });
      for (const { status, nodes } of deliveries) assert.deepEqual([status, nodes], ['published', 2]);
      assert.ok(positions(deliveries).every((position) => position === null));
      assert.deepEqual(old.problems, []);
      assert.equal(here.problems.length, history ? 1 : 0, here.problems);
      if (history)
        assert.match(
          here.problems[0],
          /messages were published without history: a server from before histories/,
        );
    });
  }

  test(`${name} and this version get each other's messages once and in order under shared routing`, {
    timeout,
  }, async () => {
    const routing = 'shared';
    const { old, here } = await sideBySide(hash, { redis: { routing } });
    await exchange({ old, here }, { routing });
    assert.deepEqual([...old.problems, ...here.problems], []);
  });

  test(`${name} and this version get each other's messages while one of the two has shared routing`, {
    timeout,
  }, async () => {
    const redis = await startRedis();
    const options = { redis: { url: redis.url, routing: 'shared' } };
    const old = await Peer.start(folders.get(hash), options);
    const here = await Peer.start(root, { redis: { url: redis.url } });
    const [far, near] = [await old.connect('user=ada'), await here.connect('user=ada')];
    for (const peer of [old, here]) {
      await peer.do('sendToUser', 'ada', { n: 1 });
      for (const client of [far, near]) assert.equal(await client.next(), '{"n":1}');
    }
  });

  for (const routing of ['user', 'shared']) {
    test(`${name} and this version count, find and close each other's connections, routing ${routing}`, {
      timeout,
    }, async () => {
      const { old, here } = await sideBySide(hash, { redis: { routing } });
      const clients = [
        await old.connect('user=ada'),
        await here.connect('user=ada'),
        await old.connect('user=eve'),
        await here.connect('user=bob'),
      ];
      for (const peer of [old, here]) {
        for (const user of ['ada', 'eve', 'bob']) assert.equal(await peer.do('isOnline', user), true, user);
        assert.equal(await peer.do('isOnline', 'nobody'), false);
        const all = { connections: 4, servers: 2, complete: true };
        assert.deepEqual(await peer.do('countConnections'), all);
        assert.deepEqual(await peer.do('countConnections', 'ada'), { ...all, connections: 2 });
        assert.deepEqual(await peer.do('countConnections', 'nobody'), { ...all, connections: 0 });
      }
      const [farAda, nearAda, eve, bob] = clients;
      await here.do('disconnectUser', 'ada', 4002, 'out');
      for (const { closed } of [farAda, nearAda])
        assert.deepEqual(await closed, { code: 4002, reason: 'out' });
      await here.do('disconnectUser', 'eve', 4100, '');
      assert.deepEqual(await eve.closed, { code: 4100, reason: '' });
      await old.do('disconnectUser', 'bob', 4200, 'ä "b"');
      assert.deepEqual(await bob.closed, { code: 4200, reason: 'ä "b"' });
      assert.deepEqual([...old.problems, ...here.problems], []);
    });
  }

  test(`a room relayed by ${name} and this version reaches the connections of both`, {
    timeout,
  }, async () => {
    const { old, here } = await sideBySide(hash, { relay: 'rooms' });
    const clients = [
      await old.connect('user=ada&room=lobby'),
      await here.connect('user=bob&room=lobby'),
      await here.connect('user=eve&room=den'),
    ];
    const [ada, bob, eve] = clients;
    for (const from of [ada, bob]) {
      for (let n = 0; n < 100; n += 1) from.send(`[${n}]`);
      for (const to of [ada, bob]) {
        for (let n = 0; n < 100; n += 1) assert.equal(await to.next(), `[${n}]`);
      }
    }
    await old.do('broadcast', 'end');
    for (const client of [ada, bob, eve]) assert.equal(await client.next(), 'end');
  });

  test(`with history here, messages get a position when the last server of ${name} has gone, and none before`, {
    timeout,
  }, async () => {
    const { redis, old, here } = await sideBySide(hash, {}, { history: true });
    const another = await Peer.start(root, { redis: { url: redis.url }, history: true });
    const [far, near] = [await old.connect('user=ada'), await another.connect('user=ada')];
    const together = await here.do('sendToUser', 'ada', 'together');
    assert.deepEqual([together.status, together.nodes, together.position], ['published', 2, null]);
    for (const client of [far, near]) assert.equal(await client.next(), 'together');
    await old.end();
    await serversOf(redis, 2);
    const { position } = await here.do('sendToUser', 'ada', 'alone');
    assert.ok(position);
    assert.equal(await near.next(), 'alone');
    const deliveries = await exchange({ here, another });
    assert.ok(positions(deliveries).every((each) => each !== null));
  });

  test(`with history here, a server of ${name} that comes and goes while messages are sent misses none`, {
    timeout,
  }, async () => {
    const { redis, old: first, here, startOld } = await sideBySide(hash, {}, { history: true });
    await first.end();
    await serversOf(redis, 1);
    const near = await here.connect('user=ada');
    const sending = here.do('sendOn', 'ada');
    const reached = () => here.do('reached');
    for (let round = 0; round < 3; round += 1) {
      const old = await startOld();
      const far = await old.connect('user=ada');
      // All messages from here on have to reach it; those under way may.
      const from = (await reached()) + 1;
      await eventually(async () => (await reached()) > from + 200);
      const until = await reached();
      let { n } = await far.nextJson();
      assert.ok(n <= from, `${n} is the first, and ${from} was sent when the connection was open`);
      while (n < until) {
        const next = await far.nextJson();
        assert.equal(next.n, n + 1);
        n = next.n;
      }
      await old.end();
      await serversOf(redis, 1);
      await eventually(async () => (await reached()) > until + 200);
    }
    await here.do('stop');
    const deliveries = await sending;
    for (let n = 0; n < deliveries.length; n += 1) assert.equal((await near.nextJson()).n, n);
    assert.ok(deliveries.every(({ status }) => status === 'published'));
    assert.ok(deliveries.some(({ position }) => position) && deliveries.some(({ position }) => !position));
  });
}
