'use strict';

const { join } = require('node:path');
const { run } = require('./support/program');

test('jest --detectOpenHandles finds nothing of a manager and a RedisPubSub that were closed', async () => {
  const jest = join(__dirname, '../node_modules/jest/bin/jest.js');
  const rootDir = join(__dirname, 'fixtures/open-handles');
  const config = JSON.stringify({ rootDir, testMatch: ['**/*.spec.js'] });
  const { exit } = run(process.execPath, [jest, '--detectOpenHandles', '--config', config]);
  const { code, errors } = await exit;
  expect(errors).toMatch(/1 passed/);
  expect(errors).not.toMatch(/open handle/);
  expect(code).toBe(0);
}, 60_000);
