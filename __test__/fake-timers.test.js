'use strict';

const https = require('node:https');
const { certificate } = require('./support/certificate');
const { host } = require('./support/host');

afterEach(() => jest.useRealTimers());

test('faked timers of a test stop neither a flood of messages nor the end', async () => {
  const { manager, connect } = await host({ relay: false });
  const client = await connect();
  let count = 0;
  const all = new Promise((resolve) => {
    manager.on('message', () => {
      count += 1;
      if (count === 5000) resolve();
    });
  });
  jest.useFakeTimers();
  for (let n = 0; n < 5000; n += 1) client.send('x');
  await all;
  await manager.close();
});

test('faked timers of a test do not hide from a manager that its server closes', async () => {
  const { connect, server, url } = await host({}, https.createServer(certificate()));
  jest.useFakeTimers();
  const client = await connect({ rejectUnauthorized: false }, url.replace('ws:', 'wss:'));
  server.close();
  expect((await client.closed).code).toBe(1001);
});
