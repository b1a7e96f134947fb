// node scripts/testing-client.mjs, a part of the build: writes testing/client.js, the client as CommonJS with timers that tests can't fake. jest can't
// import an ES module from CommonJS unless Node is started with --experimental-vm-modules.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { root } from './run.mjs';

/** Globals of the client that tests fake, and where it takes them from instead. */
const REAL = {
  clearTimeout: 'realClearTimeout',
  performance: 'realPerformance',
  queueMicrotask: 'realQueueMicrotask',
  setTimeout: 'realSetTimeout',
};
const BANNER = `'use strict';

// Written by scripts/testing-client.mjs of client/*.mjs.

const {
  clearTimeout: realClearTimeout,
  performance: realPerformance,
  queueMicrotask: realQueueMicrotask,
  setTimeout: realSetTimeout,
} = require('./real');
`;

/** The file's text. */
export async function testingClient() {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ['client/index.mjs'],
    bundle: true,
    write: false,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    charset: 'utf8',
    define: REAL,
    banner: { js: BANNER },
  });
  return outputFiles[0].text;
}

export const writeTestingClient = async () =>
  writeFileSync(join(root, 'testing/client.js'), await testingClient());

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeTestingClient();
