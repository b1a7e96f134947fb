// The client in a page: its network, and being hidden. A page is what it looks at, here without a browser.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { client, pair, peer } from './support/lab.mjs';

const TIMEOUT = { timeout: 20_000 };
const NAMES = ['addEventListener', 'removeEventListener', 'document', 'navigator'];
const before = Object.getOwnPropertyDescriptors(globalThis);
let window;
let page;
let listening;

beforeEach(() => {
  window = new EventTarget();
  listening = 0;
  page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const values = {
    addEventListener: (...args) => {
      listening += 1;
      window.addEventListener(...args);
    },
    removeEventListener: (...args) => {
      listening -= 1;
      window.removeEventListener(...args);
    },
    document: page,
    navigator: { onLine: true },
  };
  for (const name of NAMES) {
    Object.defineProperty(globalThis, name, { value: values[name], configurable: true, writable: true });
  }
});
afterEach(() => {
  for (const name of NAMES) {
    if (before[name]) Object.defineProperty(globalThis, name, before[name]);
    else delete globalThis[name];
  }
});

/** Longer than the test: only an event can end it. */
const LONG = { reconnect: { minMs: 2 ** 30, maxMs: 2 ** 30 } };

describe('a page', TIMEOUT, () => {
  test('that is offline tries nothing, and connects once it is online', async () => {
    globalThis.navigator.onLine = false;
    const server = await peer();
    const { client: made, status } = client(server.url);
    assert.equal(made.status, 'waiting');
    globalThis.navigator.onLine = true;
    window.dispatchEvent(new Event('online'));
    (await server.next()).hello();
    await status('open');
  });

  test('that waits connects at once when it is online', async () => {
    const { server, connection, status } = await pair(LONG);
    connection.socket.terminate();
    await status('waiting');
    window.dispatchEvent(new Event('online'));
    await server.next();
  });

  test('that waits connects at once when it is shown, not when it is hidden', async () => {
    const { server, connection, status, client: made } = await pair(LONG);
    connection.socket.terminate();
    await status('waiting');
    page.visibilityState = 'hidden';
    page.dispatchEvent(new Event('visibilitychange'));
    assert.equal(made.status, 'waiting');
    page.visibilityState = 'visible';
    page.dispatchEvent(new Event('visibilitychange'));
    await server.next();
  });

  test('that is shown asks at once whether an open link is alive', async () => {
    const { connection } = await pair();
    page.dispatchEvent(new Event('visibilitychange'));
    assert.deepEqual(await connection.next(), { type: 'ping' });
  });

  test('is listened to once, and no longer after close()', async () => {
    const { client: made, server, status } = await pair();
    assert.equal(listening, 1);
    made.reconnect();
    (await server.next()).hello();
    await status('open');
    assert.equal(listening, 1);
    made.close();
    assert.equal(listening, 0);
  });
});
