// A registry of npm packages on the loopback interface: what `npm run pack` wrote, to be installed as users do.
// node scripts/registry.mjs [FOLDER]: until Ctrl+C, on the port in PORT or 4873.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './run.mjs';

/** Fixed, for lock files and `.npmrc` name it. */
const PORT = 4873;

/**
 * The time at which everything here was published: npm's for all files in a tarball. Package managers that leave out what was
 * published lately need a time, and mean other people's packages.
 */
const PUBLISHED = '1985-10-26T08:15:00.000Z';

const ABI = { gnu: 'glibc', musl: 'musl' };

/** The tarballs of a folder, each with its manifest. */
function readTarballs(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  return names.map((name) => {
    const bytes = readFileSync(join(folder, name));
    const manifest = execFileSync('tar', ['-xzOf', '-', 'package/package.json'], { input: bytes });
    return { name, bytes, manifest: JSON.parse(manifest) };
  });
}

/** A tarball with nothing but a manifest. */
function emptyTarball(manifest) {
  const folder = mkdtempSync(join(tmpdir(), 'actory-websocket-empty-'));
  try {
    mkdirSync(join(folder, 'package'));
    writeFileSync(join(folder, 'package', 'package.json'), JSON.stringify(manifest));
    return execFileSync('tar', ['-czf', '-', '-C', folder, 'package']);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * The platforms' packages that have no tarball here, without an addon, with manifests of what their names say. npm and pnpm do without
 * them, but Yarn 4 looks up all optional dependencies before it decides which ones to install, and Yarn 1 even fetches them.
 */
function otherPlatforms(tarballs) {
  const names = new Set(tarballs.map(({ manifest }) => manifest.name));
  return tarballs
    .flatMap(({ manifest }) => Object.entries(manifest.optionalDependencies ?? {}))
    .filter(([name]) => !names.has(name))
    .map(([name, version]) => {
      const [os, cpu, abi] = name.slice('@actory/websocket-'.length).split('-');
      const manifest = { name, version, os: [os], cpu: [cpu], ...(ABI[abi] && { libc: [ABI[abi]] }) };
      return { name: `${name.split('/')[1]}-${version}.tgz`, bytes: emptyTarball(manifest), manifest };
    });
}

/** The registry's answer about a package: https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md */
function packument({ name: file, bytes, manifest }, url) {
  const { name, version } = manifest;
  const dist = {
    tarball: `${url}tarballs/${file}`,
    integrity: `sha512-${createHash('sha512').update(bytes).digest('base64')}`,
    shasum: createHash('sha1').update(bytes).digest('hex'),
  };
  return {
    name,
    'dist-tags': { latest: version },
    time: { created: PUBLISHED, modified: PUBLISHED, [version]: PUBLISHED },
    versions: { [version]: { ...manifest, dist } },
  };
}

/**
 * Serves the tarballs in `folder`, one version of each package.
 *
 * @param {string} [folder] - `dist` by default
 * @param {number} [port] - any that is free by default
 * @returns {Promise<{ url: string, npmrc: string, close: () => Promise<void> }>} `npmrc` is the line for the `.npmrc`
 *   beside the `package.json` that installs from here; packages of other scopes still come from where they always do
 * @throws {Error} if the port is taken
 */
export async function start(folder = join(root, 'dist'), port = 0) {
  const tarballs = readTarballs(folder);
  const packages = [...tarballs, ...otherPlatforms(tarballs)];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url).slice(1);
    const file = packages.find(({ name }) => path === `tarballs/${name}`);
    if (file) return response.end(file.bytes);
    const found = packages.find(({ manifest }) => path === manifest.name);
    response.statusCode = found ? 200 : 404;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(found ? packument(found, url) : { error: 'not_found' }));
  });
  await once(server.listen(port, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${server.address().port}/`;
  const close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url, npmrc: `@actory:registry=${url}\n`, close };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const { npmrc } = await start(process.argv[2], Number(process.env.PORT || PORT));
    process.stdout.write(npmrc);
  } catch (error) {
    console.error(
      error.code === 'EADDRINUSE'
        ? `${error.message}. Another one: PORT=4874 node scripts/registry.mjs`
        : error.message,
    );
    process.exitCode = 1;
  }
}
