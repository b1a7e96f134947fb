// The React that these tests are run with: `npm run test:react` runs them with both.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { version } from 'react';
import { version as versionOfDom } from 'react-dom';
import { root } from '../../scripts/run.mjs';

const read = (...names) => JSON.parse(readFileSync(join(root, ...names), 'utf8'));
const oldest = read('__test__/react/eighteen/package.json').dependencies.react;

test('React is the one that is asked for, the oldest or the newest', () => {
  const isOldest = process.execArgv.some((argument) => argument.includes('eighteen'));
  const expected = isOldest ? oldest : read('node_modules/react/package.json').version;
  assert.deepEqual([version, versionOfDom], [expected, expected]);
});

test('the oldest React is the first that the package takes', () => {
  assert.ok(`${oldest}.`.startsWith(`${read('package.json').peerDependencies.react.slice(2)}.`));
});
