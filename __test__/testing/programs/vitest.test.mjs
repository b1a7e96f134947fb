import { createTestServer } from '@actory/websocket/testing';
import { afterEach, expect, test, vi } from 'vitest';

let app;

afterEach(async () => {
  vi.useRealTimers();
  await app.close();
});

test('a message to a user', async () => {
  app = await createTestServer();
  const ada = await app.connect('ada');
  await app.manager.sendToUser('ada', { hello: 'world' });
  expect(await ada.next()).toStrictEqual({ hello: 'world' });
});

test('faked timers, and a time long ago', async () => {
  vi.useFakeTimers({ now: 0 });
  app = await createTestServer({ timeoutMs: 3000 });
  const ada = await app.connect('ada');
  vi.advanceTimersByTime(7_200_000);
  setTimeout(() => app.manager.sendToUser('ada', 'a minute is over'), 60_000);
  vi.advanceTimersByTime(60_000);
  expect(await ada.next()).toBe('a minute is over');
  await expect(ada.next({ timeoutMs: 5 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
  await expect(app.connect()).rejects.toMatchObject({ code: 'ERR_TOKEN_MISSING' });
});

test('the end of await using, whose syntax Node 20 does not know', async () => {
  app = await createTestServer();
  await app.connect('ada');
  await app[Symbol.asyncDispose]();
  expect(app.server.listening).toBe(false);
});
