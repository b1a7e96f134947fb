// The package managers that people install with, other than npm, which the other tests have; and what npm's lock file holds.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pack } from '../../scripts/pack.mjs';
import { start } from '../../scripts/registry.mjs';
import { root } from '../../scripts/run.mjs';
import { installTool } from './tools.mjs';

const execute = promisify(execFile);
const { napi, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const PROGRAMS = join(dirname(fileURLToPath(import.meta.url)), 'programs');

let home;
let registry;

before(async () => {
  home = realpathSync(mkdtempSync(join(tmpdir(), 'actory-websocket-managers-')));
  await pack({ out: join(home, 'dist'), anyBuild: true });
  registry = await start(join(home, 'dist'));
});

after(async () => {
  await registry?.close();
  rmSync(home, { recursive: true, force: true });
});

/** A folder with an application that wants the package, and how a command runs in it. */
function application(name) {
  const folder = join(home, name);
  cpSync(PROGRAMS, folder, { recursive: true });
  const dependencies = { '@actory/websocket': `^${version}`, ws: '^8.18.0' };
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }));
  writeFileSync(join(folder, '.npmrc'), registry.npmrc);
  const clean = Object.entries(process.env).filter(([key]) => !/^(npm_(?!config_)|INIT_CWD)/i.test(key));
  const run = async (command, ...args) => {
    const env = {
      ...Object.fromEntries(clean),
      PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
      // Packages installed from here are nothing for the caches of this machine.
      YARN_CACHE_FOLDER: join(home, 'cache'),
      YARN_ENABLE_GLOBAL_CACHE: 'false',
      YARN_ENABLE_TELEMETRY: 'false',
      YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
    };
    try {
      return (await execute(command, args, { cwd: folder, env, timeout: 240_000 })).stdout;
    } catch (error) {
      throw new Error(`${command} ${args.join(' ')}: ${error.message}\n${error.stdout}`, { cause: error });
    }
  };
  return { folder, run };
}

/** The packages of platforms that are in a folder of `@actory`. */
const platformsIn = (folder) => readdirSync(folder).filter((name) => name.startsWith('websocket-'));

test('yarn 1 installs the packages of this platform, for it knows no libc', async () => {
  const yarn = join(await installTool('yarn'), 'yarn');
  const { folder, run } = application('yarn-1');
  await run(yarn, 'install', '--non-interactive');
  const installed = platformsIn(join(folder, 'node_modules/@actory'));
  const platform = `websocket-${process.platform}-${process.arch}`;
  assert.ok(installed.length > 0 && installed.every((name) => name.startsWith(platform)), installed.join());
  assert.equal(await run(process.execPath, 'require.cjs'), 'echoed\n');
});

for (const linker of ['node-modules', 'pnp']) {
  test(`yarn 4 installs the package of this platform alone, as ${linker}`, async () => {
    const yarn = join(await installTool('berry'), 'yarn');
    const { folder, run } = application(`yarn-4-${linker}`);
    writeFileSync(
      join(folder, '.yarnrc.yml'),
      `nodeLinker: ${linker}
pnpEnableEsmLoader: true
globalFolder: ./yarn
unsafeHttpWhitelist: ['127.0.0.1']
npmScopes:
  actory:
    npmRegistryServer: ${registry.url}
`,
    );
    await run(yarn, 'install');
    if (linker === 'node-modules') assert.equal(platformsIn(join(folder, 'node_modules/@actory')).length, 1);
    assert.equal(await run(yarn, 'node', 'require.cjs'), 'echoed\n');
    assert.equal(await run(yarn, 'node', 'import.mjs'), 'echoed\n');
  });
}

test('pnpm installs the package of this platform alone', async () => {
  const pnpm = join(await installTool('pnpm'), 'pnpm');
  const { folder, run } = application('pnpm');
  await run(pnpm, 'install');
  const store = readdirSync(join(folder, 'node_modules/.pnpm')).filter((name) =>
    name.startsWith('@actory+websocket-'),
  );
  assert.equal(store.length, 1);
  assert.equal(await run(process.execPath, 'require.cjs'), 'echoed\n');
});

describe('the lock file of npm', () => {
  const platforms = (folder) =>
    Object.keys(JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')).packages).filter((path) =>
      path.startsWith('node_modules/@actory/websocket-'),
    ).length;

  test('names all platforms where there were no node_modules, and after the way that the README gives', async () => {
    const npm = [process.execPath, process.env.npm_execpath];
    const { folder, run } = application('npm-lock');
    await run(...npm, 'install');
    assert.equal(platforms(folder), napi.targets.length);

    // As npm 10 leaves it that wrote the lock anew beside node_modules of one platform: https://github.com/npm/cli/issues/4828
    const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8'));
    const [installed] = platformsIn(join(folder, 'node_modules/@actory'));
    for (const path of Object.keys(lock.packages)) {
      if (/@actory\/websocket-/.test(path) && !path.endsWith(installed)) delete lock.packages[path];
    }
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(lock));
    assert.equal(platforms(folder), 1);

    rmSync(join(folder, 'node_modules'), { recursive: true });
    rmSync(join(folder, 'package-lock.json'));
    await run(...npm, 'install');
    assert.equal(platforms(folder), napi.targets.length);
  });
});
