// npm run test:conformance: the Autobahn suite, sections 1 to 10, strict, against the package in echo form.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Missing, prepareAddon } from '../scripts/prepare.mjs';
import { run } from '../scripts/run.mjs';

/** The suite has no section 8. 11 to 13 are about extensions, which this package does not negotiate. */
const SECTIONS = ['1', '2', '3', '4', '5', '6', '7', '9', '10'];

/** 7 bytes cut every frame head and every mask; 1021 make chunks of the large payloads that line up with nothing. */
const RUNS = [
  { name: 'default read buffer', folder: 'default', limits: {} },
  { name: 'reads of at most 7 bytes', folder: 'reads-7', limits: { readBufferBytes: 7 } },
  { name: 'reads of at most 1021 bytes', folder: 'reads-1021', limits: { readBufferBytes: 1021 } },
];

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Starts the echo server and answers with it and its port. */
async function startServer(limits) {
  const server = spawn(process.execPath, [here('echo-server.mjs'), JSON.stringify(limits)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [port] = await Promise.race([
    once(createInterface(server.stdout), 'line'),
    once(server, 'exit').then(([code]) => {
      throw new Error(`The echo server ended with ${code} before it listened`);
    }),
  ]);
  return { server, port };
}

/** Runs the suite once. Answers with the cases that are neither OK nor informational. */
async function conformance({ name, folder, limits }) {
  console.log(`\n=== Autobahn, strict, ${name}`);
  const out = here(`out/${folder}`);
  rmSync(out, { recursive: true, force: true });
  const { server, port } = await startServer(limits);
  const suite = await run('bash', [here('autobahn.sh'), `ws://127.0.0.1:${port}/`, ...SECTIONS], {
    env: { AUTOBAHN_STRICT: '1', AUTOBAHN_OUT: out },
    timeoutMs: 3_600_000,
  });
  if (server.exitCode !== null || server.signalCode !== null)
    throw new Error('The echo server died on the way');
  server.kill('SIGTERM');
  await once(server, 'exit');
  // 1 says that cases failed, and those are told below; anything else that there is no result.
  if (!suite.ok && suite.reason !== 'exit code 1')
    throw new Missing(`The suite did not run: ${suite.reason}`);

  const cases = readFileSync(`${out}/results.jsonl`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const fine = ({ kind }) => kind === 'OK' || kind === 'INFORMATIONAL';
  return { name, cases, bad: cases.filter((row) => !fine(row)) };
}

try {
  await prepareAddon();
  const results = [];
  for (const each of RUNS) results.push(await conformance(each));
  console.log('\n=== summary');
  for (const { name, cases, bad } of results) {
    const list = bad.map(({ id, kind }) => `${id} ${kind}`).join(', ');
    console.log(
      `${bad.length === 0 ? ' ' : '!'} ${name}: ${cases.length - bad.length} of ${cases.length}${list && `; not: ${list}`}`,
    );
  }
  const failed = results.reduce((n, { bad }) => n + bad.length, 0);
  const all = results.reduce((n, { cases }) => n + cases.length, 0);
  console.log(`\n${all - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  if (!(error instanceof Missing)) throw error;
  // autobahn.sh has said why, for instance that there is no Python 2.7.
  console.error(error.message);
  process.exitCode = 2;
}
