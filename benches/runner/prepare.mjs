// The requirements of the first run: the generator, the other servers, and this package, built for release.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasSymbols } from '../../scripts/symbols.mjs';

const benches = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(benches);
const guide = join(root, '__test__', 'fixtures', 'guide-server.mjs');

/** Builds and finds everything, or throws and says what to do. */
export function prepare(works, servers, anyBuild) {
  if (process.platform !== 'linux') throw new Error('the benchmark needs Linux (epoll, taskset, /proc)');
  // Checks come before builds: nobody waits for a build to be told that something else is missing.
  // In `fair`, the floor is this package too.
  const isOwn =
    servers.some((server) => server === 'actory' || server === 'without') ||
    (servers.includes('floor') && works.some((work) => work.fair));
  const build = isOwn ? findBuild(anyBuild) : undefined;
  if (works.some((work) => work.redis)) requireRedis();
  if (servers.includes('guide')) requireGuide();
  const crate = join(benches, 'load');
  // Said here so that a CARGO_TARGET_DIR of the caller can't hide the binaries.
  const target = join(crate, 'target');
  run('cargo', ['build', '--release', '--locked', '--target-dir', target], crate);
  install();

  const bin = (name) => join(target, 'release', name);
  const node = (name) => [process.execPath, '--expose-gc', join(benches, 'servers', `${name}.mjs`)];
  return {
    load: bin('load'),
    versions: versions(),
    build,
    // The imports of the guide's server are installed in the root. `ws` looks here too for bufferutil, which makes it faster.
    env: { guide: { NODE_PATH: join(benches, 'node_modules') } },
    servers: {
      floor: [bin('floor')],
      ws: node('ws'),
      uws: node('uws'),
      actory: node('actory'),
      without: node('actory'),
      guide: [process.execPath, guide],
      socketio: node('socketio'),
      ...(servers.includes('bun') && { bun: [findBun(), join(benches, 'servers', 'bun.mjs')] }),
    },
  };
}

/** Installs the other servers, if need be. */
export function install() {
  if (!isInstalled()) run('npm', ['ci'], benches);
}

function run(command, args, cwd) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error(`${command} ${args[0]} failed${error ? `: ${error.message}` : ''}`);
}

/** True if the other servers are here, in the versions that the lock names. */
function isInstalled() {
  const changed = (...path) =>
    statSync(join(benches, ...path), { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
  return changed('node_modules', '.package-lock.json') >= changed('package-lock.json');
}

function requireRedis() {
  if (spawnSync('redis-server', ['--version']).status === 0) return;
  throw new Error('no redis-server: apt-get install redis-server (or leave out the works with it: --only)');
}

/** The guide's server is a fixture of the tests and imports what they do. */
function requireGuide() {
  const require = createRequire(guide);
  for (const name of ['redis', 'ws']) {
    try {
      require.resolve(name);
    } catch {
      throw new Error(`the guide's server lacks ${name}: npm ci in ${root} (or leave it out: --servers)`);
    }
  }
}

/** Which build of this package is here; only the release build will do, but for `anyBuild`. */
function findBuild(anyBuild) {
  const addon = readdirSync(root).find((file) => file.endsWith('.node'));
  if (!addon || !existsSync(join(root, 'index.mjs'))) {
    throw new Error('this package is not built: npm run build (or leave it out: --servers floor,ws,uws,bun)');
  }
  if (!hasSymbols(join(root, addon))) return 'release';
  if (anyBuild) return 'not for release';
  throw new Error(
    `${addon} is not the release build: npm run build (or take it as it is: node benches/run.mjs --any-build)`,
  );
}

/** The `bun` package puts its binary in place by an install script; where those don't run it stays where it came. */
function findBun() {
  const modules = join(benches, 'node_modules');
  const vendor = join(modules, '@oven');
  const places = [
    join(modules, 'bun', 'bin', 'bun.exe'),
    ...(existsSync(vendor) ? readdirSync(vendor).map((name) => join(vendor, name, 'bin', 'bun')) : []),
  ];
  const found = places.find((place) => spawnSync(place, ['--version']).status === 0);
  if (!found) throw new Error('no bun that runs here (or leave it out: --servers floor,ws,uws,actory)');
  return found;
}

function versions() {
  const { dependencies } = JSON.parse(readFileSync(join(benches, 'package.json'), 'utf8'));
  return Object.entries(dependencies)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
}
