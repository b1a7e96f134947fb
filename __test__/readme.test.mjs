// Follows the README's "Ten minutes" to the letter: its own blocks, in a folder of their own, and a browser that does what
// it tells the reader to do.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { pack } from '../scripts/pack.mjs';
import { NGINX, REDIS } from '../scripts/prepare.mjs';
import { start as startRegistry } from '../scripts/registry.mjs';
import { root } from '../scripts/run.mjs';
import { startBrowser } from './e2e/stage.mjs';
import { blocks, Shell, section } from './support/readme.mjs';

/** Of nginx and the servers, as the README has them. */
const PORTS = [3000, 3001, 3002];

/** The port, if nobody listens on it; with 0, a free one. */
async function freePort(port) {
  const server = createServer();
  const listening = new Promise((resolve, reject) =>
    server.once('error', reject).listen(port, '127.0.0.1', resolve),
  );
  await listening;
  const { port: free } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return free;
}

/** The section and its ports: its own if they are free; if not, others in all blocks, as it says itself. */
async function tenMinutes() {
  const text = section(join(root, 'README.md'), 'Ten minutes');
  try {
    for (const port of PORTS) await freePort(port);
    return { text, ports: PORTS };
  } catch {
    assert.match(text, /is taken,\s+write\s+others/);
    const others = [];
    while (others.length < PORTS.length) others.push(await freePort(0));
    return { text: text.replace(/\b300([012])\b/g, (_, n) => others[n]), ports: others };
  }
}

let folder;
let registry;
let shell;
let browser;
let steps;
let url;
let ports;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'actory-readme-'));
  chmodSync(folder, 0o711); // for nginx, whose workers are someone else where root starts it
  const { text, ...found } = await tenMinutes();
  ({ ports } = found);
  steps = blocks(text);
  [, url] = /<(http:\/\/localhost:\d+)>/.exec(text);
  await pack({ out: join(folder, 'dist'), anyBuild: true });
  registry = await startRegistry(join(folder, 'dist'));
  // `npm install` as a user types it; only this package comes from here.
  const own = process.env.npm_config_userconfig ?? join(homedir(), '.npmrc');
  const npmrc = join(folder, 'npmrc');
  writeFileSync(npmrc, `${existsSync(own) ? readFileSync(own, 'utf8') : ''}\n${registry.npmrc}`, {
    mode: 0o600,
  });
  const env = { ...process.env, npm_config_userconfig: npmrc, npm_config_cache: join(folder, 'cache') };
  // The variables of `npm run` are for its own package.
  for (const name of Object.keys(env))
    if (/^npm_(package|lifecycle|config_local)/.test(name)) delete env[name];
  mkdirSync(join(folder, 'home'));
  shell = new Shell({ cwd: join(folder, 'home'), env });
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await shell?.close();
  await registry?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the blocks up to and including the first that a pattern fits, and answers with that. */
async function follow(pattern) {
  while (steps.length > 0) {
    const { info, code, file } = steps.shift();
    if (file) await shell.write(file, code);
    else if (info === 'sh') await shell.run(code);
    if (pattern.test(code)) return code;
  }
  throw new Error(`no block has ${pattern}`);
}

/** Resolves once there is an HTTP answer, as for a reader who was faster than nginx and tries again. */
async function answers(address) {
  for (;;) {
    try {
      return await fetch(address);
    } catch {
      await setTimeout(50);
    }
  }
}

/** A page of a browser profile of its own, signed in by the form. */
async function signIn(user) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  await page.goto(url);
  await page.locator('#status', { hasText: 'Sign in, please' }).waitFor();
  await page.getByLabel('Your name').fill(user);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await serverOf(page, user);
  return page;
}

/** The port of the server that a page says it is on. */
async function serverOf(page, user) {
  const status = page.locator('#status', { hasText: `You are ${user}, on server ` });
  await status.waitFor();
  return (await status.textContent()).split(' ').at(-1);
}

async function say(page, to, text) {
  await page.getByLabel('To').fill(to);
  await page.getByLabel('Text').fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

const message = (page, text) => page.locator('#messages li', { hasText: text });

/** As the reader does who is told to draw again: until the page is on that server. */
async function drawUntil(page, user, server) {
  while ((await serverOf(page, user)) !== server) {
    await page.context().clearCookies({ name: 'route' });
    await page.reload();
  }
}

test('the packages that it asks for are those that npm test installs', async () => {
  const { info, code } = steps.shift();
  assert.equal(info, 'sh machine');
  const names = code
    .trim()
    .split(' ')
    .slice(3)
    .filter((word) => !word.startsWith('-'));
  assert.deepEqual(names.sort(), [...NGINX.packages, ...REDIS.packages].sort());
});

test('two users on two servers reach each other, and outlive one of them', { timeout: 90_000 }, async () => {
  await follow(/sbin\/nginx/);
  const [first, second] = ports.slice(1).map(String);
  for (const server of [first, second]) await shell.says(new RegExp(`^Server ${server} is ready$`, 'm'));
  await answers(url);

  const ada = await signIn('ada');
  const bob = await signIn('bob');
  await drawUntil(ada, 'ada', first);
  await drawUntil(bob, 'bob', second);
  await bob.reload();
  assert.equal(await serverOf(bob, 'bob'), second, 'a browser stays on its server');
  const tab = await bob.context().newPage();
  await tab.goto(url);
  assert.equal(await serverOf(tab, 'bob'), second);
  // Bob's phone, so to speak, on the other server.
  const phone = await signIn('bob');
  await drawUntil(phone, 'bob', first);

  await say(ada, 'bob', 'hello');
  for (const page of [bob, tab, phone]) await message(page, 'ada: hello').waitFor();

  await follow(/^kill %3$/m);
  for (const page of [bob, tab]) {
    await page.locator('#status', { hasText: `You are bob, on server ${first}` }).waitFor();
  }
  await say(ada, 'bob', 'still there?');
  for (const page of [bob, tab, phone]) await message(page, 'ada: still there?').waitFor();
  await say(bob, 'ada', 'yes');
  await message(ada, 'bob: yes').waitFor();
});

test('its last block ends everything that it has started', { timeout: 20_000 }, async () => {
  await follow(/^kill \$\(jobs -p\)$/m);
  assert.deepEqual(steps, []);
  await shell.run('set +e; wait; set -e; test -z "$(jobs -pr)"');
  for (const port of ports) assert.equal(await freePort(port), port);
});
