// The Actory app, for real: installed from tarballs, in production on two servers behind nginx, and in development.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import redisServer from '../support/redis-server.js';
import token from '../support/token.js';
import { App } from './app.mjs';
import { AppCluster } from './app-cluster.mjs';
import {
  block,
  connected,
  isOn,
  message,
  say,
  serverOf,
  signIn,
  signInElsewhere,
  tabBeside,
} from './desk.mjs';
import { openPage, startBrowser } from './stage.mjs';

const { freePort } = redisServer;

/** An echo may take so long while Node is blocked. */
const ECHO_MS = 50;
/** The example renders its slow page so long. */
const RENDER_MS = 2000;
const PATIENCE_MS = 30_000;

const problems = [];
let app;
let browser;

before(async () => {
  browser = await startBrowser();
  app = await App.install();
});

after(async () => {
  await browser?.close();
  await app?.remove();
});

async function open(url) {
  const page = await openPage(browser, url, problems);
  // A load balancer takes its time to believe that a server is back, and the development server compiles on demand.
  page.setDefaultTimeout(PATIENCE_MS);
  return page;
}

/** Asks until it is so: for what nobody is told of. */
async function until(ask) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await ask())) assert.ok(Date.now() < deadline, `still not so: ${ask}`);
}

const health = async (port) => (await fetch(`http://localhost:${port}/api/websocket`)).json();

describe('in production, on two servers', () => {
  let cluster;
  let ada;
  let adasOtherTab;
  let grace;

  before(async () => {
    cluster = await AppCluster.start(app);
  });

  after(async () => {
    for (const page of [ada, grace]) await page?.context().close();
    await cluster?.stop();
  });

  test('the route of the WebSocket’s path says what it is and how it is', async () => {
    for (const port of Object.values(cluster.ports)) {
      const { endpoint, path, broker } = await health(port);
      assert.deepEqual(
        { endpoint, path, broker },
        { endpoint: 'WebSocket', path: '/api/websocket', broker: 'up' },
      );
    }
  });

  test('nobody connects without the cookie of the login', async () => {
    const socket = new WebSocket(`ws://localhost:${cluster.ports['server-1']}/api/websocket`);
    const [code] = await once(socket, 'close');
    assert.equal(code, 4401);
  });

  test('two browsers land on different servers, and stay there with all their tabs', async () => {
    ada = await open(cluster.url);
    await signIn(ada, 'Ada');
    const adas = await serverOf(ada);
    grace = await signInElsewhere(ada, () => open(cluster.url), 'Grace');
    const graces = await serverOf(grace);
    for (let times = 0; times < 3; times += 1) {
      await Promise.all([ada.reload(), grace.reload()]);
      await Promise.all([isOn(ada, adas), isOn(grace, graces)]);
    }
    adasOtherTab = await tabBeside(ada);
    assert.equal(await serverOf(adasOtherTab), adas);
    assert.equal((await health(cluster.ports[adas])).connections, 2);
  });

  for (const through of ['route handler', 'socket', 'server action']) {
    test(`a message to a user through a ${through} reaches all their tabs, on another server`, async () => {
      const text = `To Ada through a ${through}`;
      await say(grace, { to: 'Ada', text, through });
      for (const tab of [ada, adasOtherTab, grace]) await message(tab, text).waitFor();
      await message(ada, `through a ${through} of ${await serverOf(grace)}`)
        .first()
        .waitFor();
    });
  }

  for (const through of ['route handler', 'server action']) {
    test(`a broadcast by a ${through} reaches everyone, and says on how many servers`, async () => {
      const text = `To everyone through a ${through}`;
      await say(grace, { text, through });
      for (const tab of [ada, adasOtherTab, grace]) await message(tab, text).waitFor();
      await grace.locator('output', { hasText: 'published, to 2 servers' }).waitFor();
    });
  }

  test(`a page that takes ${RENDER_MS} ms to render delays no echo by more than ${ECHO_MS} ms`, async (t) => {
    const options = { headers: { cookie: `session=${token.sign({ sub: 'echo', name: 'Echo' })}` } };
    const socket = new WebSocket(`ws://localhost:${cluster.ports['server-1']}/api/websocket`, options);
    const welcome = once(socket, 'message');
    await once(socket, 'open');
    await welcome;

    let rendering = true;
    const rendered = fetch(`http://localhost:${cluster.ports['server-1']}/slow`)
      .then((response) => response.text())
      .finally(() => {
        rendering = false;
      });
    const taken = [];
    while (rendering) {
      const echo = once(socket, 'message');
      const sentAt = performance.now();
      socket.send(JSON.stringify({ type: 'echo', number: taken.length }));
      await echo;
      taken.push(performance.now() - sentAt);
      await sleep(5);
    }
    socket.close();
    const [, ms] = /(\d+)(?:<!-- -->)? ms to render/.exec(await rendered);
    assert.ok(Number(ms) >= RENDER_MS, `it rendered ${ms} ms`);
    assert.ok(taken.length > 100, `${taken.length} echoes`);
    const slowest = Math.max(...taken);
    t.diagnostic(`${taken.length} echoes while it rendered, the slowest in ${slowest.toFixed(1)} ms`);
    assert.ok(slowest <= ECHO_MS, `the slowest of ${taken.length} echoes took ${slowest.toFixed(1)} ms`);
  });

  test('the page shows the same', async (t) => {
    const { text, ms, count } = await block(ada);
    t.diagnostic(text);
    assert.ok(ms >= RENDER_MS, `it took ${ms} ms`);
    assert.ok(count >= 10, `${count} echoes came`);
  });

  test('when a server is killed, its pages come back on the other one and get the next message', async () => {
    const lost = await serverOf(ada);
    const left = await serverOf(grace);
    await cluster.servers[lost].end('SIGKILL');
    for (const tab of [ada, adasOtherTab]) {
      await isOn(tab, left);
      await connected(tab);
    }
    await say(grace, { to: 'Ada', text: 'There you are', through: 'route handler' });
    for (const tab of [ada, adasOtherTab]) await message(tab, 'There you are').waitFor();

    await cluster.startServer(lost);
    assert.equal((await health(cluster.ports[lost])).connections, 0);
  });

  test('who signs out is disconnected', async () => {
    const port = cluster.ports[await serverOf(grace)];
    assert.equal((await health(port)).users, 2);
    await grace.getByRole('button', { name: 'Sign out' }).click();
    await grace.getByLabel('Your name').waitFor();
    await until(async () => (await health(port)).users === 1);
  });

  test('a server ends by itself on SIGTERM, and its pages go to the other one', async () => {
    const from = await serverOf(ada);
    const to = from === 'server-1' ? 'server-2' : 'server-1';
    const ended = cluster.servers[from].end('SIGTERM');
    await isOn(ada, to);
    assert.equal(await ended, 0);
  });

  test('pages complain about nothing but a server that is gone', () => {
    const unexpected = problems.splice(0).filter((text) => !/WebSocket connection|502/.test(text));
    assert.deepEqual(unexpected, []);
  });

  test('without the custom server, the route says what is missing', async () => {
    const port = await freePort();
    const server = await app.serve('next start', { port });
    try {
      const response = await fetch(`http://localhost:${port}/api/websocket`);
      const { code, message: words } = await response.json();
      assert.deepEqual({ status: response.status, code }, { status: 503, code: 'ERR_NO_MANAGER' });
      assert.match(words, /new WebSocketManager\(server\).*custom server.*"next start"/);
    } finally {
      await server.end();
    }
  });
});

describe('in development', () => {
  let server;
  let port;
  let page;
  /** The page's own sockets, by path. */
  const sockets = new Map();

  before(async () => {
    port = await freePort();
    server = await app.serve('dev', { name: 'dev', port });
    page = await open(`http://localhost:${port}`);
    page.on('websocket', (socket) => sockets.set(new URL(socket.url()).pathname, socket));
    await signIn(page, 'Ada');
    await isOn(page, 'dev');
  });

  after(async () => {
    await page?.context().close();
    await server?.end();
  });

  /** Changes a file of the app. */
  async function edit(name, from, to) {
    const path = join(app.folder, name);
    const text = await readFile(path, 'utf8');
    assert.ok(text.includes(from), `${name} has no ${from}`);
    await writeFile(path, text.replace(from, to));
  }

  test('an edited component appears without a reload, and the socket stays open', async () => {
    await page.evaluate(() => {
      window.loaded = 'once';
    });
    await say(page, { text: 'Said before', through: 'socket' });
    await message(page, 'Said before').waitFor();
    const before = new Map(sockets);

    await edit('components/heading.tsx', 'Messages', 'Everything that was said');
    await page.getByRole('heading', { name: 'Everything that was said' }).waitFor();
    assert.equal(await page.evaluate(() => window.loaded), 'once');
    await message(page, 'Said before').waitFor();
    await say(page, { text: 'Said after', through: 'socket' });
    await message(page, 'Said after').waitFor();

    assert.deepEqual(sockets, before);
    assert.deepEqual([...sockets.keys()].toSorted(), ['/_next/hmr', '/api/websocket']);
    for (const [path, socket] of sockets) assert.equal(socket.isClosed(), false, `${path} was closed`);
    assert.equal((await health(port)).connections, 1);
  });

  test('route handlers and server actions find the same manager after they were edited', async () => {
    for (const word of ['once', 'twice']) {
      const route = ['path: manager.path', `edited: '${word}', path: manager.path`];
      const helper = ['from, to, text,', `from, to, text: \`\${text}, edited ${word}\`,`];
      await edit('app/api/websocket/route.ts', ...route);
      await edit('lib/deliver.ts', ...helper);
      await until(async () => (await health(port)).edited === word);
      assert.equal((await health(port)).connections, 1);
      for (const through of ['route handler', 'server action']) {
        await say(page, { text: `By a ${through}`, through });
        await message(page, `By a ${through}, edited ${word}`).waitFor();
      }
      await edit('app/api/websocket/route.ts', ...route.toReversed());
      await edit('lib/deliver.ts', ...helper.toReversed());
    }
  });

  test('pages complain about nothing', () => {
    assert.deepEqual(problems.splice(0), []);
  });

  test('the server ends by itself on SIGTERM', async () => {
    assert.equal(await server.end('SIGTERM'), 0);
  });
});
