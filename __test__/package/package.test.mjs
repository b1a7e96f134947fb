import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { browserFiles } from '../../scripts/browser.mjs';
import { compareVersions, glibcOf } from '../../scripts/glibc.mjs';
import { textsOf } from '../../scripts/notices.mjs';
import { pack } from '../../scripts/pack.mjs';
import { start } from '../../scripts/registry.mjs';
import { root } from '../../scripts/run.mjs';
import { createApp, node, programs } from './app.mjs';
import { majors, nodeBinary } from './nodes.mjs';

const execute = promisify(execFile);
const onLinux = process.platform === 'linux';

/** A build on Debian 11 or later asks for no more. The release workflow builds for 2.17, and checks that. */
const GLIBC_OF_A_LOCAL_BUILD = '2.34';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const workflow = readFileSync(join(root, '.github', 'workflows', 'release.yml'), 'utf8');
const folders = [];
let dist;
let main;
let platform;
let app;

const readApp = (...names) => readFileSync(join(app, 'node_modules', '@actory', ...names), 'utf8');
const kilobytes = (path) => `${Math.round(statSync(path).size / 1000)} kB`;

/** The error of loading the package, from a process of its own. */
async function loadError(folder, prelude = '') {
  const program = `${prelude}; try { require('@actory/websocket') } catch ({ code, message }) { console.log(code, message) }`;
  return (await node(folder, ['-e', program])).stdout;
}

before(async () => {
  dist = mkdtempSync(join(tmpdir(), 'actory-websocket-dist-'));
  folders.push(dist);
  const tarballs = await pack({ out: dist, anyBuild: true });
  [platform] = tarballs;
  main = tarballs.at(-1);
  app = await createApp(dist);
  folders.push(app);
});

after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

describe('what is installed', () => {
  test('no binary and no install script is in the package, one binary in that of the platform', () => {
    const files = readdirSync(join(app, 'node_modules', '@actory', 'websocket'), { recursive: true });
    assert.deepEqual(
      files.filter((name) => name.endsWith('.node')),
      [],
    );
    assert.equal(JSON.parse(readApp('websocket', 'package.json')).scripts, undefined);

    const [name, ...others] = readdirSync(join(app, 'node_modules', '@actory')).filter(
      (each) => each !== 'websocket',
    );
    assert.deepEqual(others, []);
    const manifest = JSON.parse(readApp(name, 'package.json'));
    assert.deepEqual(manifest.os, [process.platform]);
    assert.deepEqual(manifest.cpu, [process.arch]);
    assert.equal(manifest.scripts, undefined);
    assert.deepEqual(
      readdirSync(join(app, 'node_modules', '@actory', name)).sort(),
      [manifest.main, 'LICENSE', 'README.md', 'THIRD-PARTY-NOTICES.txt', 'package.json'].sort(),
    );
  });

  test('beside the binary are the licences of what is linked into it, and of nothing else', () => {
    const lock = readFileSync(join(root, 'Cargo.lock'), 'utf8');
    const inLock = new Map(
      [...lock.matchAll(/^name = "(.+)"\nversion = "(.+)"/gm)].map(([, name, of]) => [name, of]),
    );
    const [name] = readdirSync(join(app, 'node_modules', '@actory')).filter((each) => each !== 'websocket');
    const text = readApp(name, 'THIRD-PARTY-NOTICES.txt');
    const names = [...text.matchAll(/^ {2}(\S+) \d\S*: /gm)].map(([, crate]) => crate);
    for (const crate of ['tokio', 'ring', 'rustls', 'napi', 'crc']) {
      assert.ok(text.includes(`\n  ${crate} ${inLock.get(crate)}: `), crate);
      assert.match(text, new RegExp(`^=+\n.*\\b${crate} ${inLock.get(crate)}\\b.*\n=+\n`, 'm'));
    }
    assert.match(text, /^ {2}The Rust standard library: MIT OR Apache-2\.0, /m);
    // Of the tests' jsonwebtoken, of builds, and of macros.
    const others = ['rsa', 'p256', 'ed25519-dalek', 'napi-build', 'napi-derive', 'syn'];
    assert.ok(others.every((crate) => inLock.has(crate)));
    assert.deepEqual(
      names.filter((crate) => ['actory-websocket', ...others].includes(crate)),
      [],
    );
  });

  test('the loader knows the platforms that the package depends on, in exactly its own version', () => {
    const { optionalDependencies } = JSON.parse(readApp('websocket', 'package.json'));
    const loaded = readApp('websocket', 'lib', 'native.js').matchAll(/require\('(@actory\/[^']+)'\)/g);
    assert.deepEqual([...loaded].map(([, name]) => name).sort(), Object.keys(optionalDependencies).sort());
    assert.deepEqual([...new Set(Object.values(optionalDependencies))], [version]);
  });

  test('what its documents link to is there, examples included', () => {
    const installed = join(app, 'node_modules/@actory/websocket');
    const documents = readdirSync(installed, { recursive: true }).filter((name) => name.endsWith('.md'));
    assert.ok(documents.includes('README.md') && documents.includes(join('examples', 'actory', 'README.md')));
    for (const name of documents) {
      const links = [...readFileSync(join(installed, name), 'utf8').matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, link]) => link.split('#')[0])
        .filter((link) => link !== '' && !/^[a-z]+:/.test(link));
      for (const link of links) {
        assert.ok(existsSync(join(installed, dirname(name), link)), `${name} links to ${link}`);
      }
    }
  });

  test('the demo runs from there', async () => {
    const demo = spawn(
      process.execPath,
      [join(app, 'node_modules/@actory/websocket/examples/demo/server.mjs')],
      {
        env: { PORT: '0' },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const exit = once(demo, 'exit');
    const [line] = await once(createInterface(demo.stdout), 'line');
    const page = await (await fetch(/http:\S+/.exec(line)[0])).text();
    assert.match(page, /<!doctype html>/i);
    demo.kill('SIGINT');
    assert.deepEqual(await exit, [0, null]);
  });

  const namesThatNeedNode = Object.keys(createRequire(import.meta.url)('../..'))
    .filter((name) => !['CloseCode', 'closeAdvice', 'ErrorCode'].includes(name))
    .sort();

  for (const condition of ['browser', 'edge-light', 'workerd', 'worker', 'react-native']) {
    test(`with the condition "${condition}": codes and advice, and errors that say what to do`, async () => {
      const program = `
        const use = (module) => {
          const { CloseCode, closeAdvice, ErrorCode, ...needNode } = module;
          console.log(closeAdvice(CloseCode.TOKEN_EXPIRED));
          for (const name of Object.keys(needNode).sort())
            try { /^[A-Z]/.test(name) ? new needNode[name]() : needNode[name]() } catch (error) { console.log(error.code, error.message) }
        };`;
      const kinds = {
        module: `import * as module from '@actory/websocket'; ${program} use(module)`,
        commonjs: `${program} use(require('@actory/websocket'))`,
      };
      for (const [kind, text] of Object.entries(kinds)) {
        const { stdout } = await node(app, [`--conditions=${condition}`, `--input-type=${kind}`, '-e', text]);
        const [advice, ...errors] = stdout.trim().split('\n');
        assert.equal(advice, 'refresh');
        assert.deepEqual(
          errors.map((line) => line.split(' of @actory')[0]),
          namesThatNeedNode.map((name) => `ERR_WRONG_RUNTIME ${name}`),
        );
      }
    });
  }

  test('what browsers get is up to date, has every name, and needs nothing else', async () => {
    for (const [name, text] of Object.entries(browserFiles())) {
      assert.equal(readFileSync(join(root, name), 'utf8'), text, `${name}: node scripts/browser.mjs`);
      // As a page without a bundler has it.
      assert.doesNotMatch(text, /\b(import\(|from '|require\(|process\.)/);
    }
    const names = "console.log(Object.keys(require('@actory/websocket')).sort().join())";
    const runs = await Promise.all([
      node(app, ['-e', names]),
      node(app, ['--conditions=browser', '-e', names]),
    ]);
    assert.equal(runs[0].stdout, runs[1].stdout);
  });

  test('publint and arethetypeswrong find nothing', async () => {
    const bin = join(root, 'node_modules', '.bin');
    // In CI it would color what it says.
    const env = { ...process.env, NO_COLOR: '1' };
    const checks = [
      execute(join(bin, 'publint'), ['run', main, '--strict'], { env }),
      execute(join(bin, 'publint'), ['run', platform, '--strict'], { env }),
    ];
    for (const { stdout } of await Promise.all(checks)) assert.match(stdout, /All good!\s*$/);
    // Those two are for pages and for servers that send them: an ES module can't suit `require`, nor a subpath TypeScript's "node10".
    // The client and the hooks are ES modules, too.
    const pages = ['--exclude-entrypoints', 'browser.mjs', 'browser.js', 'client', 'react'];
    const { stdout } = await execute(join(bin, 'attw'), [main, ...pages], { env });
    // It exits with a code if it finds one.
    const modules = ['--entrypoints', 'client', 'react', '--profile', 'esm-only'];
    await execute(join(bin, 'attw'), [main, ...modules], { env });
    assert.match(stdout, /No problems found/);
  });
});

describe('what is packed', () => {
  test('is a release build, unless another is asked for', { skip: !onLinux }, async () => {
    const binaries = mkdtempSync(join(tmpdir(), 'actory-websocket-binaries-'));
    folders.push(binaries);
    const name = readdirSync(root).find((each) => each.endsWith('.node'));
    const addon = join(binaries, name);
    const out = join(binaries, 'dist');

    execFileSync('objcopy', ['--add-symbol', 'anything=0', join(root, name), addon]);
    await assert.rejects(pack({ binaries, out }), {
      message: `${name} is not the release build: npm run build (or take it as it is: npm run pack -- --any-build)`,
    });
    assert.equal(existsSync(out), false);

    execFileSync('strip', ['-o', addon, join(root, name)]);
    assert.equal((await pack({ binaries, out })).length, 2);
  });
});

describe('the licence of a crate', () => {
  const standard = { MIT: 'the text of MIT', 'Apache-2.0': 'the text of Apache' };
  const crate = { name: 'some', version: '1.2.3', license: 'MIT/Zlib', authors: ['A. Author'], files: [] };

  test('is what its sources say', () => {
    assert.deepEqual(textsOf({ ...crate, files: [{ text: 'its own' }] }, standard), ['its own']);
  });

  test('is the standard text of each that it names, if its sources say nothing', () => {
    assert.deepEqual(textsOf(crate, standard), ['MIT\n\nCopyright (c) A. Author\n\nthe text of MIT']);
    const both = textsOf({ ...crate, license: 'Apache-2.0 OR MIT', authors: [] }, standard);
    assert.match(both[0], /^Apache-2\.0\n\nCopyright \(c\) The authors of some\n\nthe text of Apache$/);
    assert.match(both[1], /^MIT\n/);
  });

  for (const license of ['Zlib', 'MIT AND Zlib', null]) {
    test(`can't be told from ${license} alone, and nothing is packed`, () => {
      assert.throws(() => textsOf({ ...crate, license }, standard), {
        message: `some 1.2.3 can't be shipped: its sources have no licence file, and its licence (${license ?? 'none'}) is none of MIT, Apache-2.0`,
      });
    });
  }
});

describe('the release workflow', () => {
  test('builds for each platform of the package', () => {
    const { napi } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const targets = [...workflow.matchAll(/- target: (\S+)/g)].map(([, target]) => target);
    assert.deepEqual(targets.sort(), napi.targets.toSorted());
  });

  test('publishes the tarballs, the package after those of the platforms', { skip: !onLinux }, async () => {
    // Its last step as it stands, but for what npm would send. The registry has no package yet.
    const runner = mkdtempSync(join(tmpdir(), 'actory-websocket-runner-'));
    folders.push(runner);
    cpSync(dist, join(runner, 'dist'), { recursive: true });
    const registry = await start(runner);
    const env = {
      ...process.env,
      HOME: runner,
      GITHUB_REF_NAME: `v${version}`,
      NODE_AUTH_TOKEN: 'none',
      npm_config_userconfig: join(runner, '.npmrc'),
      npm_config_registry: registry.url,
      npm_config_dry_run: 'true',
      // This test may have another one.
      npm_config_loglevel: 'notice',
    };
    const step = workflow.split('run: |\n').at(-1);
    try {
      const args = ['--noprofile', '--norc', '-eo', 'pipefail', '-c', step];
      const { stdout } = await execute('bash', args, { cwd: runner, env, timeout: 120_000 });
      const name = readdirSync(join(app, 'node_modules', '@actory')).find((each) => each !== 'websocket');
      assert.deepEqual(stdout.trim().split('\n'), [
        `+ @actory/${name}@${version}`,
        `+ @actory/websocket@${version}`,
      ]);
    } finally {
      await registry.close();
    }
  });

  test('publishes for a tag that was pushed, not for a run that was started by hand', () => {
    const [, condition] = /^ {2}publish:\n(?: {4}.*\n)*? {4}if: (.*)\n/m.exec(workflow);
    assert.equal(condition, "github.event_name == 'push' && startsWith(github.ref, 'refs/tags/v')");
  });

  test("runs GitHub's own actions alone", () => {
    const actions = [...workflow.matchAll(/uses: (\S+)/g)].map(([, action]) => action);
    assert.ok(actions.length > 0);
    assert.deepEqual(
      actions.filter((action) => !action.startsWith('actions/')),
      [],
    );
  });
});

describe('it runs without a compiler and without a PATH', () => {
  for (const major of majors) {
    test(`on Node ${major}: by require, by import and in workers`, { skip: !onLinux }, async () => {
      const binary = await nodeBinary(major);
      const runs = await Promise.all(programs.map((program) => node(app, [program], binary)));
      assert.match((await node(app, ['--version'], binary)).stdout, new RegExp(`^v${major}\\.`));
      assert.deepEqual(
        runs.map(({ stdout }) => stdout),
        ['echoed\n', 'echoed\n', 'echoed\nechoed\n'],
      );
    });
  }
});

describe('without a binary', () => {
  test('the error names the platform, the package that is missing, and the way to build', async () => {
    const bare = await createApp(dist, ['--omit=optional']);
    folders.push(bare);
    const error = await loadError(bare);
    assert.match(error, /^ERR_NATIVE_MISSING /);
    assert.match(error, new RegExp(`os ${process.platform}, cpu ${process.arch}`));
    if (onLinux) assert.match(error, /libc (glibc|musl)/);
    assert.match(error, new RegExp(`npm install @actory/websocket-${process.platform}-\\S+@${version}"`));
    assert.match(error, /npm run build/);
  });

  test('on a platform that has no package, it says so', async () => {
    const error = await loadError(app, `Object.defineProperty(process, 'arch', { value: 'riscv64' })`);
    assert.match(error, /^ERR_NATIVE_MISSING .*-riscv64.*there is no package with one.*npm run build/);
  });
});

test('the addon asks for a glibc no newer than stated; sizes', { skip: !onLinux }, (t) => {
  const [addon] = readdirSync(join(app, 'node_modules', '@actory'), { recursive: true })
    .filter((name) => name.endsWith('.node'))
    .map((name) => join(app, 'node_modules', '@actory', name));
  const stripped = join(dist, 'stripped.node');
  execFileSync('strip', ['-o', stripped, addon]);
  const glibc = glibcOf(addon);
  t.diagnostic(`glibc ${glibc}; the package ${kilobytes(main)}, the platform's ${kilobytes(platform)}`);
  t.diagnostic(`the addon ${kilobytes(addon)}, stripped ${kilobytes(stripped)}`);
  assert.ok(compareVersions(glibc, GLIBC_OF_A_LOCAL_BUILD) <= 0, `It asks for glibc ${glibc}`);
  assert.ok(statSync(main).size < 520_000);
  assert.ok(statSync(stripped).size < 8_000_000);
});
