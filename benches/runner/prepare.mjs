// What has to be there before the first run: the generator, the other servers, and this package, built for release.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const benches = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(benches);

/** Builds and finds everything, or throws and says what to do. */
export function prepare(servers) {
  if (process.platform !== 'linux') throw new Error('the benchmark needs Linux (epoll, taskset, /proc)');
  const crate = join(benches, 'load');
  // Said here so that a CARGO_TARGET_DIR of the caller can't hide the binaries.
  const target = join(crate, 'target');
  run('cargo', ['build', '--release', '--locked', '--target-dir', target], crate);
  if (!existsSync(join(benches, 'node_modules'))) run('npm', ['ci'], benches);
  if (servers.includes('actory')) requireRelease();

  const bin = (name) => join(target, 'release', name);
  const node = (name) => [process.execPath, '--expose-gc', join(benches, 'servers', `${name}.mjs`)];
  return {
    load: bin('load'),
    versions: versions(),
    servers: {
      floor: [bin('floor')],
      ws: node('ws'),
      uws: node('uws'),
      actory: node('actory'),
      ...(servers.includes('bun') && { bun: [findBun(), join(benches, 'servers', 'bun.mjs')] }),
    },
  };
}

function run(command, args, cwd) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error(`${command} ${args[0]} failed${error ? `: ${error.message}` : ''}`);
}

function requireRelease() {
  const addon = readdirSync(root).find((file) => file.endsWith('.node'));
  if (!addon || !existsSync(join(root, 'index.mjs'))) {
    throw new Error('this package is not built: npm run build (or leave it out: --servers floor,ws,uws,bun)');
  }
  if (hasSymbols(readFileSync(join(root, addon)))) {
    throw new Error(`${addon} is not the release build: npm run build`);
  }
}

/** Whether an ELF file has a symbol table: the release profile strips it, the others keep it. */
function hasSymbols(elf) {
  const SYMBOL_TABLE = 2;
  if (elf.readUInt32BE(0) !== 0x7f454c46) return false;
  const at = Number(elf.readBigUInt64LE(0x28));
  const [size, count] = [elf.readUInt16LE(0x3a), elf.readUInt16LE(0x3c)];
  return Array.from({ length: count }, (_, i) => elf.readUInt32LE(at + i * size + 4)).includes(SYMBOL_TABLE);
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
