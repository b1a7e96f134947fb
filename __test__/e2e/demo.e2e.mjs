import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connected, message, openPage, person, say, signIn, startBrowser, startDemo } from './stage.mjs';

/** More than enough for one turn through Rust on a busy machine, and far less than the two seconds of a block. */
const AT_MOST_MS = 1000;

const problems = [];
let demo;
let browser;
let ada;
let grace;

before(async () => {
  // One after the other, so that what has started is ended if the other does not start.
  browser = await startBrowser();
  demo = await startDemo();
  [ada, grace] = await Promise.all([
    openPage(browser, demo.url, problems),
    openPage(browser, demo.url, problems),
  ]);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

const count = (page, number) => page.locator('#count', { hasText: new RegExp(`^${number}$`) }).waitFor();

test('two people sign in and see each other', async () => {
  await signIn(ada, 'Ada');
  await signIn(grace, 'Grace');
  await person(ada, 'Grace').waitFor();
  await person(grace, 'Ada').waitFor();
  await count(ada, 2);
});

test('what one writes the other reads, as text', async () => {
  await say(ada, 'Hello, <b>Grace</b>');
  await message(grace, 'Hello, <b>Grace</b>').waitFor();
  await message(ada, 'Hello, <b>Grace</b>').waitFor();
  assert.equal(await grace.locator('#log .words b').count(), 0);
  await say(grace, 'Hello, Ada');
  await message(ada, 'Hello, Ada').waitFor();
});

test('a second tab of the same person is a connection more, not a person more', async () => {
  const tab = await openPage(browser, `${demo.url}/?name=Ada`, problems);
  await connected(tab);
  await person(grace, 'Ada · 2 tabs').waitFor();
  await count(grace, 2);
  await message(tab, 'Hello, Ada').waitFor();
  await tab.context().close();
  await person(grace, 'Ada · 2 tabs').waitFor({ state: 'detached' });
  await count(grace, 2);
});

test('rooms keep apart what is said in them', async () => {
  await grace.getByRole('button', { name: 'engineering' }).click();
  await grace.getByRole('heading', { name: '#engineering' }).waitFor();
  await person(ada, 'Grace').waitFor({ state: 'detached' });

  await say(grace, 'Only engineers read this');
  await message(grace, 'Only engineers read this').waitFor();
  await say(ada, 'Said while you were away');
  await message(ada, 'Said while you were away').waitFor();
  assert.equal(await message(ada, 'Only engineers read this').count(), 0);
  assert.equal(await message(grace, 'Said while you were away').count(), 0);

  await grace.getByRole('button', { name: 'lobby' }).click();
  await message(grace, 'Said while you were away').waitFor();
  await person(ada, 'Grace').waitFor();
});

test('a room of one’s own comes with the first who joins it and goes with the last who leaves', async () => {
  await ada.getByLabel('Name of a room').fill('Observatory');
  await ada.getByRole('button', { name: 'Go to that room' }).click();
  await ada.getByRole('heading', { name: '#observatory' }).waitFor();
  await grace.getByRole('button', { name: 'observatory' }).waitFor();
  await ada.getByRole('button', { name: 'lobby' }).click();
  await grace.getByRole('button', { name: 'observatory' }).waitFor({ state: 'detached' });
  await person(grace, 'Ada').waitFor();
});

test('route handlers reach one user, and everyone', async () => {
  await ada.getByRole('button', { name: 'Wave at Grace' }).click();
  await grace.locator('.toast', { hasText: 'Ada waves at you' }).waitFor();
  await ada.locator('.toast', { hasText: 'You waved at Grace, on 1 connection' }).waitFor();
  await grace.getByLabel('Announcement to everyone').fill('Tea is ready');
  await grace.locator('#announce button').click();
  await ada.locator('.toast', { hasText: 'Announcement by Grace: Tea is ready' }).waitFor();
});

test('the figures are live', async () => {
  for (const id of ['#rtt', '#http', '#s-connections', '#s-users', '#s-in', '#s-out']) {
    await ada.locator(id, { hasText: /\d/ }).waitFor();
  }
  await ada.locator('#s-connections', { hasText: /^2$/ }).waitFor();
  await ada.locator('#s-users', { hasText: /^2$/ }).waitFor();
});

/** Waits in the page for a message, and answers with how long it was on its way and whether Node was blocked then. */
const arrivalOf = (page, text) =>
  page.evaluate(
    (words) =>
      new Promise((resolve) => {
        const observer = new MutationObserver(() => {
          const row = [...document.querySelectorAll('#log .message')].find((each) =>
            each.textContent.includes(words),
          );
          if (!row) return;
          observer.disconnect();
          const sentAt = Date.parse(row.querySelector('time').dateTime);
          resolve({ ms: Date.now() - sentAt, blocked: 'blocked' in document.documentElement.dataset });
        });
        observer.observe(document.getElementById('log'), { childList: true });
      }),
    text,
  );

test('messages keep flowing while Node’s thread is blocked', async () => {
  const arrival = arrivalOf(grace, 'Still here?');
  const answer = arrivalOf(ada, 'Still here.');
  // They fail with the test if it fails before it gets to them.
  for (const promise of [arrival, answer]) promise.catch(() => {});
  await ada.getByRole('button', { name: /^Block Node/ }).click();
  await grace.locator('html[data-blocked]').waitFor();

  const asked = performance.now();
  let nodeAnswered = false;
  const node = fetch(`${demo.url}/api/stats`).then(() => {
    nodeAnswered = true;
    return performance.now() - asked;
  });

  await say(ada, 'Still here?');
  const there = await arrival;
  await say(grace, 'Still here.');
  const back = await answer;
  assert.equal(nodeAnswered, false, 'Node answered, so it was not blocked');
  for (const { ms, blocked } of [there, back]) {
    assert.equal(blocked, true, 'it came after the block');
    assert.ok(ms < AT_MOST_MS, `it took ${ms} ms`);
  }

  // The page shows the same: one figure stands at the last round trip, the other one grows.
  await ada.locator('#http', { hasText: /^([5-9]\d\d|\d,\d\d\d)$/ }).waitFor();
  assert.ok(Number(await ada.locator('#rtt').textContent()) < AT_MOST_MS);
  assert.equal(nodeAnswered, false);

  assert.ok((await node) > AT_MOST_MS);
  const verdict = ada.locator('#verdict', { hasText: 'While Node was blocked' });
  await verdict.waitFor();
  const [, own, slowest, others] =
    /(\d+) of this tab’s messages came back, the slowest in ([\d.,]+) ms, and (\d+) came from other tabs/.exec(
      await verdict.textContent(),
    );
  assert.ok(Number(own) >= 4, `${own} of its own messages came back`);
  assert.ok(Number(others) >= 4, `${others} messages came from the other tab`);
  assert.ok(Number(slowest.replace(',', '')) < AT_MOST_MS, `the slowest took ${slowest} ms`);
});

test('pages complain about nothing', () => {
  assert.deepEqual(problems, []);
});

test('when the server restarts, pages come back to their room, with new tokens', async () => {
  await grace.getByRole('button', { name: 'random' }).click();
  await grace.getByRole('heading', { name: '#random' }).waitFor();
  const { port } = demo;
  assert.equal(await demo.stop(), 0);
  // 1012, or 1006 from a first attempt to come back while other pages were still being told.
  await grace.locator('#state', { hasText: /Lost \((1012|1006)\)/ }).waitFor();
  demo = await startDemo(port);
  await Promise.all([connected(ada), connected(grace)]);
  await grace.getByRole('heading', { name: '#random' }).waitFor();
  await person(grace, 'Grace').waitFor();
  assert.equal(await person(grace, 'Ada').count(), 0);
});

test('who signs out is gone', async () => {
  await grace.getByRole('button', { name: 'Sign out' }).click();
  await grace.getByLabel('Your name').waitFor();
  await ada.locator('.rooms button', { hasText: /random\s*0/ }).waitFor();
  await ada.locator('#s-connections', { hasText: /^1$/ }).waitFor();
});
