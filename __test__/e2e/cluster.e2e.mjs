import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { connected, message, openPage, person, say, startBrowser, startCluster } from './stage.mjs';

const problems = [];
let cluster;
let browser;
let ada;
let grace;

before(async () => {
  // One after the other, so that what has started is ended if the other does not start.
  browser = await startBrowser();
  cluster = await startCluster();
});

after(async () => {
  await browser?.close();
  await cluster?.stop();
});

const enter = async (name, server) => {
  const page = await openPage(
    browser,
    `${cluster.url}/?name=${name}${server ? `&server=${server}` : ''}`,
    problems,
  );
  await connected(page);
  return page;
};

const isOn = (page, server) => page.locator('#server', { hasText: `Server ${server}` }).waitFor();
/** Someone in the list of who is here, on that server. */
const personOn = (page, name, server) => person(page, name).filter({ hasText: `server ${server}` });
const redisIs = (page, words) => page.locator('#broker', { hasText: words }).waitFor();

/** True if there is a process of this id. */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('two tabs that name no server land on different ones, and stay there when they are reloaded', async () => {
  const tabs = [await enter('Eve'), await enter('Eve')];
  const servers = await Promise.all(tabs.map((tab) => tab.locator('#server').textContent()));
  assert.deepEqual(servers.toSorted(), ['Server 1', 'Server 2']);
  for (const [index, tab] of tabs.entries()) {
    await tab.reload();
    await connected(tab);
    assert.equal(await tab.locator('#server').textContent(), servers[index]);
    await tab.context().close();
  }
});

test('a tab gets the server that its URL names, and says how Redis is', async () => {
  ada = await enter('Ada', 1);
  await isOn(ada, 1);
  await redisIs(ada, 'Redis up');
});

test('the link to the other server opens a tab there', async () => {
  const [tab] = await Promise.all([
    ada.context().waitForEvent('page'),
    ada.locator('#servers li', { hasText: 'Server 2' }).getByRole('link').click(),
  ]);
  await tab.getByLabel('Your name').fill('Grace');
  await tab.getByRole('button', { name: 'Sign in' }).click();
  await connected(tab);
  await isOn(tab, 2);
  grace = tab;
});

test('people on different servers see each other, and on which server', async () => {
  await personOn(ada, 'Grace', 2).waitFor();
  await personOn(grace, 'Ada', 1).waitFor();
  await ada.locator('#everywhere', { hasText: '2 connections on 2 servers' }).waitFor();
});

test('messages cross from server to server, both ways', async () => {
  await say(ada, 'Hello from server 1');
  await message(grace, 'Hello from server 1').waitFor();
  await say(grace, 'Hello from server 2');
  await message(ada, 'Hello from server 2').waitFor();
});

test('rooms span servers', async () => {
  await grace.getByRole('button', { name: 'engineering' }).click();
  await ada.getByRole('button', { name: 'engineering' }).click();
  await personOn(ada, 'Grace', 2).waitFor();
  await message(ada, 'Hello from server 2').waitFor({ state: 'detached' });
  await say(ada, 'Is anybody here?');
  await message(grace, 'Is anybody here?').waitFor();
  for (const page of [ada, grace]) await page.getByRole('button', { name: 'lobby' }).click();
  await personOn(ada, 'Grace', 2).waitFor();
  await message(grace, 'Hello from server 1').waitFor();
});

test('route handlers reach a user on another server, and everyone on all', async () => {
  await ada.getByRole('button', { name: 'Wave at Grace' }).click();
  await grace.locator('.toast', { hasText: 'Ada waves at you' }).waitFor();
  await ada.locator('.toast', { hasText: 'You waved at Grace, on 1 server' }).waitFor();
  await grace.getByLabel('Announcement to everyone').fill('Tea is ready');
  await grace.locator('#announce button').click();
  await ada.locator('.toast', { hasText: 'Announcement by Grace: Tea is ready' }).waitFor();
  await grace.locator('.toast', { hasText: 'Announced, on 2 servers' }).waitFor();
});

test('pages complain about nothing', () => {
  assert.deepEqual(problems, []);
});

test('without Redis tabs stay connected, and a server goes on serving its own people', async () => {
  const eve = await enter('Eve', 1);
  await personOn(ada, 'Eve', 1).waitFor();
  await cluster.toggle('redis', /^Redis is dead$/m);
  await Promise.all([ada, grace, eve].map((page) => redisIs(page, 'Redis is away')));

  await say(eve, 'Who can read this?');
  await message(ada, 'Who can read this?').waitFor();
  await person(ada, 'Grace').waitFor({ state: 'detached' });
  await say(grace, 'Nobody hears me');
  await message(grace, 'Nobody hears me').waitFor();
  assert.equal(await message(grace, 'Who can read this?').count(), 0);
  assert.equal(await message(ada, 'Nobody hears me').count(), 0);
  for (const page of [ada, grace, eve]) await connected(page);
  await eve.context().close();
});

test('with Redis back a gap is reported, messages cross again, and the demo makes up for what was missed', async () => {
  await cluster.toggle('redis', /^Redis is back$/m);
  await Promise.all([ada, grace].map((page) => redisIs(page, 'Redis up')));
  for (const page of [ada, grace]) await page.locator('#log .note', { hasText: 'Redis was away' }).waitFor();
  await personOn(ada, 'Grace', 2).waitFor();
  await say(ada, 'There you are again');
  await message(grace, 'There you are again').waitFor();
  await message(grace, 'Who can read this?').waitFor();
  await message(ada, 'Nobody hears me').waitFor();
});

test('when a server dies, its tabs come back on the other one', async () => {
  await cluster.toggle('1', /^Server 1 is dead$/m);
  await isOn(ada, 2);
  await connected(ada);
  await ada.locator('.toast', { hasText: 'Server 1 is gone' }).waitFor();
  await message(ada, 'There you are again').waitFor();
  await personOn(grace, 'Ada', 2).waitFor();
  await say(ada, 'I have moved');
  await message(grace, 'I have moved').waitFor();
  await grace.locator('#servers li', { hasText: 'Server 1' }).waitFor({ state: 'detached' });
});

test('a server that comes back knows what was said', async () => {
  await cluster.toggle('1', /^Server 1 is back$/m);
  await ada.locator('#servers li', { hasText: 'Server 1' }).waitFor();
  const tab = await enter('Eve', 1);
  await isOn(tab, 1);
  await message(tab, 'I have moved').waitFor();
  await personOn(ada, 'Eve', 1).waitFor();
  await tab.context().close();
});

test('Ctrl+C ends everything and leaves nothing', async () => {
  await ada.context().close();
  const { code, errors } = await cluster.stop();
  assert.deepEqual({ code, errors }, { code: 0, errors: '' });
  assert.deepEqual(
    cluster.parts.filter(({ pid }) => isAlive(pid)),
    [],
  );
  const socket = cluster.parts.find(({ name }) => name === 'Redis').at;
  assert.equal(existsSync(socket), false);
  await assert.rejects(fetch(cluster.url));
});

test('when a part ends by itself, the rest ends too and the reason is said', async () => {
  cluster = await startCluster();
  process.kill(cluster.parts.find(({ name }) => name === 'Server 2').pid, 'SIGKILL');
  const { code, errors } = await cluster.ended();
  assert.equal(code, 1);
  assert.match(errors, /^Server 2 has ended, SIGKILL/);
  assert.deepEqual(
    cluster.parts.filter(({ pid }) => isAlive(pid)),
    [],
  );
});
