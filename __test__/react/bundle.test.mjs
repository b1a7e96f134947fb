// A page loads the hooks, of this size, and nothing else.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { root } from '../../scripts/run.mjs';

const MOST = 9_000;
const ALL = "export * from '@actory/websocket/client'; export * from '@actory/websocket/react'";

async function bundle(contents) {
  const stdin = { contents, resolveDir: root };
  const options = { bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022' };
  const external = ['react'];
  const { outputFiles, metafile } = await build({
    stdin,
    ...options,
    external,
    metafile: true,
    write: false,
  });
  return {
    size: gzipSync(outputFiles[0].contents, { level: 9 }).length,
    inputs: Object.keys(metafile.inputs),
    externals: Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path)),
  };
}

test('the whole client and the hooks have at most 9 kB without React, gzipped', async (t) => {
  const { size, inputs, externals } = await bundle(ALL);
  t.diagnostic(`client and hooks: ${size} bytes gzipped`);
  assert.ok(size > 5_000 && size <= MOST, `${size} bytes`);
  assert.ok(
    inputs.every((name) => name === '<stdin>' || /^(client|react)\//.test(name)),
    inputs.join(),
  );
  assert.deepEqual(new Set(externals), new Set(['react']));
});

test('who takes useRoom alone gets no client', async () => {
  const { size } = await bundle("export { useRoom } from '@actory/websocket/react'");
  assert.ok(size < 800, `${size} bytes`);
});

test('the entry is for the client components of React', () => {
  assert.match(readFileSync(join(root, 'react/index.mjs'), 'utf8'), /^'use client';\n/);
});
