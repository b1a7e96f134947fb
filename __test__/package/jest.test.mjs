// What meets Node itself, in the versions that are supported beside the one that runs all tests.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { root, run } from '../../scripts/run.mjs';
import { nodeBinary } from './nodes.mjs';

/** Upgrades, sockets, streams, events and signals. */
const FILES = [
  'connections',
  'handle-upgrade',
  'lifecycle',
  'listeners',
  'neighbours',
  'origins',
  'shutdown',
];

for (const major of ['24', '26']) {
  test(`jest passes on Node ${major}`, async () => {
    const files = FILES.map((name) => join('__test__', `${name}.test.js`));
    const args = [join(root, 'node_modules/jest/bin/jest.js'), '--ci', '--runTestsByPath', ...files];
    const { ok, output } = await run(await nodeBinary(major), args, { quiet: true });
    assert.ok(ok, output);
    assert.match(output, new RegExp(`Test Suites: ${FILES.length} passed`));
  });
}
