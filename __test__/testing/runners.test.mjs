// The testing helpers in runners other than jest, whose tests are in testing.test.js, and on Node's own WebSocket.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { createTestServer } from '@actory/websocket/testing';
import { root } from '../../scripts/run.mjs';
import { testingClient } from '../../scripts/testing-client.mjs';
import { majors, nodeBinary } from '../package/nodes.mjs';
import { Kitchen } from '../recipes/kitchen.mjs';

const require = createRequire(import.meta.url);
const execute = promisify(execFile);
const programs = join(root, '__test__/testing/programs');
const TIMEOUT = { timeout: 120_000 };

test('testing/client.js is the client: node scripts/testing-client.mjs', async () => {
  assert.equal(readFileSync(join(root, 'testing/client.js'), 'utf8'), await testingClient());
});

test('import and require give the same', () => {
  assert.equal(require('@actory/websocket/testing').createTestServer, createTestServer);
});

describe('node:test', () => {
  let app;
  before(async () => {
    app = await createTestServer();
  });
  after(() => app.close());

  for (const userId of ['ada', 'bob', 'eve']) {
    test(`a message to ${userId}`, { concurrency: true }, async () => {
      const client = await app.connect(userId);
      await app.manager.sendToUser(userId, { to: userId });
      assert.deepEqual(await client.next(), { to: userId });
    });
  }

  test('mocked timers', async ({ mock }) => {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'], now: 0 });
    const client = await app.connect('ada');
    mock.timers.tick(7_200_000);
    await app.manager.sendToUser('ada', 'here');
    assert.equal(await client.next(), 'here');
    await assert.rejects(client.next({ timeoutMs: 5 }), { code: 'ERR_TIMEOUT' });
  });
});

for (const major of majors) {
  test(`a program ends by itself after close() on Node ${major}`, TIMEOUT, async () => {
    const { stdout } = await execute(await nodeBinary(major), [join(programs, 'plain.cjs')], {
      timeout: 60_000,
    });
    assert.equal(stdout, 'came ERR_TOKEN_MISSING ERR_CLOSED\n');
  });

  test(`jest passes on Node ${major}`, TIMEOUT, async () => {
    const args = [
      'node_modules/jest/bin/jest.js',
      '--ci',
      '--runTestsByPath',
      '__test__/testing/testing.test.js',
    ];
    const { stderr } = await execute(await nodeBinary(major), args, { cwd: root });
    assert.match(stderr, /^Tests: +\d+ passed, \d+ total$/m);
  });
}

describe('vitest', () => {
  const kitchen = new Kitchen();
  before(() => kitchen.open(), { timeout: 300_000 });
  after(() => kitchen.close());

  test('messages, faked timers, await using', TIMEOUT, async () => {
    const folder = kitchen.folder();
    cpSync(join(programs, 'vitest.test.mjs'), join(folder, 'app.test.mjs'));
    const { code, output } = await kitchen.run(folder, [
      join(folder, '../node_modules/vitest/vitest.mjs'),
      'run',
    ]).exit;
    assert.match(output, /Tests +3 passed \(3\)/, output);
    assert.doesNotMatch(output, /error|hang/i);
    assert.equal(code, 0);
  });
});
