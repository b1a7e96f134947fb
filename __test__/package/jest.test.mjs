// The tests that meet Node itself, in the versions that are supported beside the one that runs all tests.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { root, run } from '../../scripts/run.mjs';
import { majors, nodeBinary } from './nodes.mjs';

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

/** Has jest run those files of `__test__` on a Node of that major version. */
async function passes(major, names) {
  const files = names.map((name) => join('__test__', `${name}.test.js`));
  const args = [join(root, 'node_modules/jest/bin/jest.js'), '--ci', '--runTestsByPath', ...files];
  const { ok, output } = await run(await nodeBinary(major), args, { quiet: true });
  assert.ok(ok, output);
  assert.match(output, new RegExp(`Test Suites: ${names.length} passed`));
}

for (const major of majors) {
  test(`what Node keeps private is as lib/node-internals.js has it on Node ${major}`, () =>
    passes(major, ['node-internals']));
}

for (const major of ['24', '26']) test(`jest passes on Node ${major}`, () => passes(major, FILES));
