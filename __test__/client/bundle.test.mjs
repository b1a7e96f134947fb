// The client's bundle for a page: its size, and that it asks for nothing of Node.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { root } from '../../scripts/run.mjs';
import { nodeBinary } from '../package/nodes.mjs';
import { peer } from './support/lab.mjs';

const MOST_OF_CORE = 5_000;
const MOST = 9_000;

async function bundle(contents) {
  const stdin = { contents, resolveDir: root };
  const options = { bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022' };
  const { outputFiles, metafile } = await build({ stdin, ...options, metafile: true, write: false });
  return {
    size: gzipSync(outputFiles[0].contents, { level: 9 }).length,
    inputs: Object.keys(metafile.inputs),
  };
}

test('the core of the client has at most 5 kB, gzipped', async () => {
  const { size } = await bundle("export { CoreClient } from '@actory/websocket/client'");
  assert.ok(size > 1_000 && size <= MOST_OF_CORE, `${size} bytes`);
});

test('the whole client has at most 9 kB, gzipped', async () => {
  const { size, inputs } = await bundle("export * from '@actory/websocket/client'");
  assert.ok(size > 1_000 && size <= MOST, `${size} bytes`);
  assert.ok(
    inputs.every((name) => name === '<stdin>' || name.startsWith('client/')),
    inputs.join(),
  );
});

test('who takes closeAdvice alone gets nothing else', async () => {
  const { size } = await bundle("export { closeAdvice } from '@actory/websocket/client'");
  assert.ok(size < 300, `${size} bytes`);
});

for (const major of ['22', '24']) {
  test(`it works with the WebSocket of Node ${major}`, { timeout: 120_000 }, async () => {
    const binary = await nodeBinary(major);
    const server = await peer({ refuse: [503] });
    const program = join(root, '__test__/client/programs/native.mjs');
    const ended = promisify(execFile)(binary, [program, server.url], { timeout: 60_000 });
    // A handshake that is refused is no end.
    const first = (await server.next()).hello({ topic: 'user', position: null });
    assert.deepEqual(first.offered, ['actory.v1', 'bearer', 'abc']);
    const message = { type: 'message', topic: 'user' };
    first.send({ ...message, position: 'e.t.1', data: 1 });
    first.send(Buffer.from('\0\x12{"type":"message"}\x01\x02', 'latin1'));
    assert.equal((await first.next()).at(-1), 1);
    await first.next();
    first.socket.terminate();
    const second = (await server.next()).hello({ topic: 'user', position: 'e.t.2' });
    assert.deepEqual(await second.next(), { type: 'resume', topics: [{ topic: 'user', position: 'e.t.1' }] });
    second.send({ ...message, position: 'e.t.2', replayed: true, data: 2 });
    second.send({ type: 'resumed', topic: 'user', position: 'e.t.2', recovered: true });
    second.send({ ...message, position: 'e.t.3', data: 'end' });
    assert.equal((await ended).stdout, '1 false\n1,2 false\n2 true\nend false\n');
  });
}
