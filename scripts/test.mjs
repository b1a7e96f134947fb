// npm test: readies the machine, runs every check, and ends with how each went, how long it took, and a count.
import { stripVTControlCharacters } from 'node:util';
import * as prepare from './prepare.mjs';
import { run } from './run.mjs';

/** Sums what a pattern's first group finds. */
const sum = (output, pattern) =>
  [...output.matchAll(pattern)].reduce((n, [, digits]) => n + Number(digits), 0);

/** Readers of each runner's output: what passed, and what failed. */
const cargoTests = {
  passed: (output) => sum(output, /^test result: .* (\d+) passed/gm),
  failed: (output) => sum(output, /^test result: .* (\d+) failed/gm),
};
const jestTests = {
  passed: (output) => sum(output, /^Tests: .*?(\d+) passed/gm),
  failed: (output) => sum(output, /^Tests: .*?(\d+) failed/gm),
};
const nodeTests = {
  passed: (output) => sum(output, /^ℹ pass (\d+)/gm),
  failed: (output) => sum(output, /^ℹ fail (\d+)/gm),
};

/** The crates below the engine know no features: once is enough. */
const engineAlone = ['--locked', '--workspace', '--no-default-features'];
const withNode = ['--locked'];
const denyWarnings = ['--', '-D', 'warnings'];
const fuzzTargets = ['--manifest-path', 'fuzz/Cargo.toml'];
const loadGenerator = ['--manifest-path', 'benches/load/Cargo.toml'];

/** The tests of a script of package.json that run in node:test, with the addon. */
const ofNode = (name, script) => ({
  name,
  command: ['npm', 'run', '--silent', script],
  tests: nodeTests,
  needsAddon: true,
});

/**
 * In this order: fast failures come first. One after the other, for several of them watch the clock and would
 * not do with half a machine. Those with `tests` count each test, the others count as one.
 */
const checks = [
  { name: 'long files', command: ['node', 'scripts/long-files.mjs'] },
  { name: 'layers', command: ['node', 'scripts/layers.mjs'] },
  { name: 'Node internals', command: ['node', 'scripts/node-internals.mjs'] },
  { name: 'rustfmt', command: ['cargo', 'fmt', '--all', '--check'] },
  { name: 'rustfmt, fuzz targets', command: ['cargo', 'fmt', '--check', ...fuzzTargets] },
  { name: 'rustfmt, load generator', command: ['cargo', 'fmt', '--check', ...loadGenerator] },
  { name: 'biome', command: ['node_modules/.bin/biome', 'check', '--error-on-warnings'] },
  { name: 'types', command: ['node_modules/.bin/tsc'] },
  { name: 'API reference', command: ['node_modules/.bin/typedoc'] },
  {
    name: 'clippy, engine alone',
    command: ['cargo', 'clippy', '--all-targets', ...engineAlone, ...denyWarnings],
  },
  { name: 'clippy, with Node', command: ['cargo', 'clippy', '--all-targets', ...withNode, ...denyWarnings] },
  {
    name: 'Rust docs',
    command: ['cargo', 'doc', '--no-deps', '--document-private-items', ...engineAlone],
    env: { RUSTDOCFLAGS: '-D warnings -A rustdoc::private_intra_doc_links' },
  },
  {
    name: 'clippy, load generator',
    command: ['cargo', 'clippy', '--all-targets', '--locked', ...loadGenerator, ...denyWarnings],
  },
  { name: 'cargo test, engine alone', command: ['cargo', 'test', ...engineAlone], tests: cargoTests },
  { name: 'cargo test, with Node', command: ['cargo', 'test', ...withNode], tests: cargoTests },
  { name: 'addon', command: ['npm', 'run', '--silent', 'build:debug'] },
  { name: 'jest', command: ['node_modules/.bin/jest', '--ci'], tests: jestTests, needsAddon: true },
  ofNode('crossws', 'test:crossws'),
  ofNode('client', 'test:client'),
  ofNode('testing', 'test:testing'),
  ofNode('React', 'test:react'),
  ofNode('package', 'test:package'),
  {
    name: 'chaos run, short',
    command: ['npm', 'run', '--silent', 'test:chaos', '--', '--short'],
    needsAddon: true,
  },
  {
    name: 'judgement of chaos',
    command: ['node', '--test', '--test-reporter=spec', 'chaos/ledger.test.mjs'],
    tests: nodeTests,
  },
  {
    name: 'chaos with history, short',
    command: ['npm', 'run', '--silent', 'test:chaos:history', '--', '--short'],
    needsAddon: true,
  },
  {
    name: "README's ten minutes",
    command: ['npm', 'run', '--silent', 'test:readme'],
    tests: nodeTests,
    needsAddon: true,
  },
  ofNode('recipes', 'test:recipes'),
  ofNode('demos in a browser', 'test:e2e'),
  ofNode('Next.js app in a browser', 'test:next'),
];

/** Readies the machine. Answers with what is still missing but keeps only some checks from running. */
async function ready() {
  prepare.checkCargo();
  await prepare.installPackages([prepare.LINKER, prepare.OPENSSL, prepare.REDIS, prepare.JQ]);
  await prepare.installNodeModules();
  const lacking = await prepare.installRustComponents();
  if (lacking.length > 0) {
    console.error(
      `Missing on this machine: ${lacking.join(' and ')} of the Rust toolchain (rustup component add)`,
    );
  }
  try {
    await prepare.installPackages([prepare.CHROMIUM, prepare.NGINX, prepare.HAPROXY]);
  } catch (error) {
    if (!(error instanceof prepare.Missing)) throw error;
    console.error(error.message);
  }
}

/** Runs one check and answers with its row of the summary. */
async function perform({ name, command, env, tests, needsAddon = false }) {
  console.log(`\n=== ${name}: ${command.join(' ')}`);
  const nothingToTest = needsAddon && !prepare.addonIsBuilt();
  const result = nothingToTest
    ? { ok: false, output: '', seconds: 0, reason: 'not run, for there is no addon' }
    : await run(command[0], command.slice(1), { env });
  const output = stripVTControlCharacters(result.output);
  let { ok, reason } = result;
  let passed = ok ? 1 : 0;
  let failed = ok ? 0 : 1;
  if (tests) {
    passed = tests.passed(output);
    failed = tests.failed(output);
    if (ok && passed === 0) reason = 'ran no test';
    else if (ok && failed > 0) reason = 'a test failed';
    ok = reason === '';
    if (!ok) failed = Math.max(failed, 1);
  }
  console.log(`=== ${name}: ${ok ? 'ok' : `FAILED, ${reason}`} (${result.seconds.toFixed(1)} s)`);
  return { name, ok, reason, passed, failed, seconds: result.seconds };
}

const start = performance.now();
try {
  await ready();
} catch (error) {
  if (!(error instanceof prepare.Missing)) throw error;
  console.error(error.message);
  process.exit(1);
}
const readied = (performance.now() - start) / 1000;

const rows = [];
for (const check of checks) rows.push(await perform(check));

console.log(`\n=== summary (preparation took ${readied.toFixed(1)} s)`);
for (const { name, ok, reason, passed, failed, seconds } of rows) {
  const what = ok ? `${passed} passed` : `${passed} passed, ${failed} FAILED: ${reason}`;
  console.log(`${ok ? ' ' : '!'} ${name.padEnd(26)} ${seconds.toFixed(1).padStart(6)} s  ${what}`);
}
const total = (key) => rows.reduce((n, row) => n + row[key], 0);
console.log(`  ${'all'.padEnd(26)} ${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s\n`);
console.log(`${total('passed')} passed, ${total('failed')} failed`);
process.exitCode = total('failed') === 0 ? 0 : 1;
