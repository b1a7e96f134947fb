'use strict';

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
