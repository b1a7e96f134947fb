// npm run pack [-- [FOLDER] [--any-build]]: from built addons, by default the clone's own, to what is published: tarballs of
// the package and of one package per platform.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parseTriple } from '@napi-rs/cli';
import { notices } from './notices.mjs';
import { root, run } from './run.mjs';
import { hasSymbols } from './symbols.mjs';
import { writeTestingClient } from './testing-client.mjs';

/** Fields that only a clone of the repository has a use for. `private` keeps the clone itself from being published. */
const OF_THE_CLONE = ['private', 'scripts', 'jest', 'napi', 'devDependencies', 'overrides'];

const NOTICES = 'THIRD-PARTY-NOTICES.txt';

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));
const writeJson = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);

async function quietly(command, ...args) {
  const { ok, output, reason } = await run(command, args, { quiet: true });
  if (!ok) throw new Error(`${command} ${args.join(' ')}: ${reason}\n${output}`);
  return output;
}

const npm = (...args) => quietly('npm', ...args, '--silent', '--ignore-scripts');
const napi = (...args) => quietly(join(root, 'node_modules', '.bin', 'napi'), ...args);

/** Lays the package as users get it into `folder`: the published files, and a dependency on each platform's package. */
async function stageMain(folder, platformPackages) {
  await writeTestingClient();
  const [{ files }] = JSON.parse(await npm('pack', '--dry-run', '--json'));
  for (const { path } of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    copyFileSync(join(root, path), join(folder, path));
  }
  const manifest = readJson(join(root, 'package.json'));
  for (const key of OF_THE_CLONE) delete manifest[key];
  manifest.optionalDependencies = Object.fromEntries(
    platformPackages.map(({ manifest: { name, version } }) => [name, version]),
  );
  writeJson(join(folder, 'package.json'), manifest);
}

/** `npm run demo` and the tests leave an addon that nobody is to ship. */
function refuseOtherBuilds(folder) {
  const other = readdirSync(folder).find((name) => name.endsWith('.node') && hasSymbols(join(folder, name)));
  if (other === undefined) return;
  throw new Error(
    `${other} is not the release build: npm run build (or take it as it is: npm run pack -- --any-build)`,
  );
}

/**
 * Writes the tarballs into `out`, which is emptied first: the package, and a package for each addon in `binaries`.
 * The package names all platforms of `napi.targets`, also those whose addons are not there.
 *
 * @param {{ binaries?: string, out?: string, anyBuild?: boolean }} [options] - folders, by default the clone's own and
 *   `dist`; `anyBuild` takes addons that are not built for release, as the tests do
 * @returns {Promise<string[]>} paths of the tarballs, the platforms' first, for that is the order to publish them in
 * @throws {Error} if there is no addon, or the licence of what is linked into one can't be told; also if one is not built for release,
 *   and then `out` is left as it is
 */
export async function pack({ binaries = root, out = join(root, 'dist'), anyBuild = false } = {}) {
  if (!anyBuild) refuseOtherBuilds(binaries);
  rmSync(out, { recursive: true, force: true });
  const stage = join(out, 'stage');
  mkdirSync(stage, { recursive: true });

  // napi keeps to the folder of package.json: it gets one of its own, as `out` may lie anywhere.
  copyFileSync(join(root, 'package.json'), join(stage, 'package.json'));
  await napi('create-npm-dirs', '--cwd', stage, '--npm-dir', 'platforms');
  const platformPackages = readdirSync(join(stage, 'platforms')).map((name) => {
    const folder = join(stage, 'platforms', name);
    return { name, folder, manifest: readJson(join(folder, 'package.json')) };
  });

  const { targets } = readJson(join(root, 'package.json')).napi;
  const folders = [];
  for (const { name, folder, manifest } of platformPackages) {
    const addon = join(binaries, manifest.main);
    if (!existsSync(addon)) continue;
    copyFileSync(addon, join(folder, manifest.main));
    copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
    const target = targets.find((triple) => parseTriple(triple).platformArchABI === name);
    writeFileSync(join(folder, NOTICES), await notices(target));
    const files = [...manifest.files, NOTICES];
    writeJson(join(folder, 'package.json'), { ...manifest, files, type: 'commonjs' });
    folders.push(folder);
  }
  if (folders.length === 0) {
    throw new Error(`No addon in ${binaries} is for one of the platforms in package.json, napi.targets`);
  }
  await stageMain(join(stage, 'main'), platformPackages);
  folders.push(join(stage, 'main'));

  const tarballs = [];
  for (const folder of folders) {
    const [{ filename }] = JSON.parse(await npm('pack', folder, '--pack-destination', out, '--json'));
    tarballs.push(join(out, filename));
  }
  rmSync(stage, { recursive: true });
  return tarballs;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: { 'any-build': { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const [binaries = root] = positionals;
  try {
    const tarballs = await pack({ binaries: resolve(binaries), anyBuild: values['any-build'] });
    for (const path of tarballs) console.log(path);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
