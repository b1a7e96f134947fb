// Client code as a version's README prints it, with servers of another version.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { root } from '../../scripts/run.mjs';
import { blocks, section } from '../support/readme.mjs';
import { build } from './build.mjs';
import { Page } from './page.mjs';
import { VERSIONS } from './versions.mjs';

globalThis.afterEach = afterEach; // The support of jest's tests takes it from there.
const { closeAfterwards } = (await import('../support/cleanup.js')).default;
const { startRedis } = (await import('../support/redis.js')).default;
const { SECRET, sign } = (await import('../support/token.js')).default;
const { Peer } = await import('./peer.mjs');

const require = createRequire(import.meta.url);
const timeout = 60_000;
const [first] = VERSIONS;
const folders = new Map([['this version', root]]);

before(async () => {
  for (const { name, hash } of VERSIONS) folders.set(name, await build(hash));
});

/** The blocks of a section of a version's README. */
const printed = (name, heading) => blocks(section(join(folders.get(name), 'README.md'), heading));

/** Advice as that version's copy for browsers gives it. 0.1 has none, and its pages ask for none. */
function adviceOf(name) {
  if (name === first.name) return {};
  const { closeAdvice } = require(join(folders.get(name), 'browser.js'));
  return { closeAdvice };
}

function open(peer, cookie) {
  const page = new Page({ host: `127.0.0.1:${peer.port}`, cookie });
  closeAfterwards(() => page.close());
  return page;
}

/** The page of the ten minutes. */
function tenMinutes(version, peer, user, secret = SECRET) {
  const { code } = printed(version, 'Ten minutes').find(({ file }) => file === 'index.html');
  const [, script] = /<script type="module">([\s\S]*)<\/script>/.exec(code);
  const page = open(peer, `session=${sign({ sub: user }, secret)}`);
  page.run(script, adviceOf(version));
  return page;
}

const status = (page) => page.node('status').textContent;
const messages = (page) => page.node('messages').children.map(({ textContent }) => textContent);

const others = VERSIONS.map(({ name }) => name);
for (const [client, server] of [
  ...others.map((name) => [name, 'this version']),
  ...others.map((name) => ['this version', name]),
]) {
  test(`the page of the README of ${client} gets along with servers of ${server}`, { timeout }, async () => {
    const redis = await startRedis();
    const options = {
      redis: { url: redis.url },
      auth: { jwt: { secret: SECRET, cookie: 'session' } },
      rejectWith: 'close',
      relay: false,
    };
    const start = async (version, port) => {
      const peer = await Peer.start(folders.get(version), { ...options, port });
      await peer.do('serveReadme');
      return peer;
    };
    const [one, two] = [await start(server), await start(client)];
    const [ada, bob] = [tenMinutes(client, one, 'ada'), tenMinutes(client, two, 'bob')];
    for (const [page, user] of [
      [ada, 'ada'],
      [bob, 'bob'],
    ]) {
      await page.until(() => status(page) === `You are ${user}, on server here`);
    }
    for (let n = 0; n < 50; n += 1) {
      ada.submit('message', { to: 'bob', text: `ä ${n}` });
      bob.submit('message', { to: 'ada', text: `b ${n}` });
    }
    await Promise.all([ada, bob].map((page) => page.until(() => messages(page).length === 50)));
    const numbers = [...Array(50).keys()];
    assert.deepEqual(
      messages(bob),
      numbers.map((n) => `ada: ä ${n}`),
    );
    assert.deepEqual(
      messages(ada),
      numbers.map((n) => `bob: b ${n}`),
    );
    // A deploy: it comes back by itself.
    const { port } = one;
    const gone = ada.until(() => status(ada) === 'Not connected');
    await one.end();
    await gone;
    await start(server, port);
    await ada.until(() => status(ada) === 'You are ada, on server here');
    bob.submit('message', { to: 'ada', text: 'again' });
    await ada.until(() => messages(ada).at(-1) === 'bob: again');
    assert.equal(messages(ada).length, 51);
    // One that is refused for its token.
    const eve = tenMinutes(client, { port }, 'eve', 'another secret, which has 32 bytes or more');
    await eve.until(() => status(eve) === 'Sign in, please');
  });
}

test(`the client of 0.1's quick start gets its own relayed message from this version`, {
  timeout,
}, async () => {
  const redis = await startRedis();
  const peer = await Peer.start(root, { redis: { url: redis.url }, auth: { jwt: { secret: SECRET } } });
  const client = printed(first.name, 'Quick start').find(({ code }) => code.includes('new WebSocket('));
  const page = open(peer);
  page.run(client.code, { token: sign({ sub: 'ada' }) });
  await page.until(() => page.logged.length > 0);
  await peer.do('sendToUser', 'ada', { n: 1 });
  await page.until(() => page.logged.length > 1);
  assert.deepEqual(page.logged, [{ cursor: [3, 4] }, { n: 1 }]);
});

for (const name of others) {
  test(`the client that this README has for close codes does as servers of ${name} ask`, {
    timeout,
  }, async () => {
    const options = { redis: false, auth: { jwt: { secret: SECRET } }, rejectWith: 'close' };
    let peer = await Peer.start(folders.get(name), options);
    const { port } = peer;
    const page = open(peer);
    const { code } = printed('this version', 'Close codes').find((block) =>
      block.code.includes('closeAdvice'),
    );
    let refreshed = 0;
    const freshToken = async () => {
      refreshed += 1;
      return sign({ sub: 'ada' });
    };
    const stale = sign({ sub: 'ada', exp: 1 });
    page.run(`${code}; connect(token)`, { ...adviceOf('this version'), token: stale, freshToken });
    const isOpen = () => page.sockets.at(-1).readyState === 1;
    // Of a server that has refused the token it takes a fresh one, once.
    await page.until(() => page.sockets.length === 2 && isOpen());
    assert.equal(refreshed, 1);
    await peer.end();
    peer = await Peer.start(folders.get(name), { ...options, port });
    await page.until(() => page.closed.length > 1 && isOpen());
    assert.equal(await peer.do('isOnline', 'ada'), true);
    const before = page.sockets.length;
    await peer.do('disconnectUser', 'ada');
    await page.until(() => page.closed.at(-1) === 4002);
    assert.equal(page.sockets.length, before);
  });
}
