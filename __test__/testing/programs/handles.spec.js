'use strict';

// As an application's tests have it: one server for the file, closed at the end.

const { createTestServer } = require('@actory/websocket/testing');

let app;

beforeAll(async () => {
  app = await createTestServer({ relay: false });
  app.manager.on('message', (connection, data) => connection.send(data));
});

afterAll(() => app.close());

test('an echo', async () => {
  const ada = await app.connect('ada');
  ada.send({ hello: 'world' });
  expect(await ada.next()).toStrictEqual({ hello: 'world' });
});

test('one that is refused', async () => {
  await expect(app.connect()).rejects.toMatchObject({ code: 'ERR_TOKEN_MISSING' });
});

test('one that waits', async () => {
  const ada = await app.connect('ada');
  ada.next();
});
