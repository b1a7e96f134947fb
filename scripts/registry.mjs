// A registry of npm packages on the loopback interface: what `npm run pack` wrote, to be installed as users do.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './run.mjs';

/** The tarballs of a folder, each with its manifest. */
function readTarballs(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  return names.map((name) => {
    const bytes = readFileSync(join(folder, name));
    const manifest = execFileSync('tar', ['-xzOf', '-', 'package/package.json'], { input: bytes });
    return { name, bytes, manifest: JSON.parse(manifest) };
  });
}

/** What the registry says of a package: https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md */
function packument({ name, bytes, manifest }, url) {
  const dist = {
    tarball: `${url}tarballs/${name}`,
    integrity: `sha512-${createHash('sha512').update(bytes).digest('base64')}`,
    shasum: createHash('sha1').update(bytes).digest('hex'),
  };
  return {
    name: manifest.name,
    'dist-tags': { latest: manifest.version },
    versions: { [manifest.version]: { ...manifest, dist } },
  };
}

/**
 * Serves the tarballs in `folder`, one version of each package.
 *
 * @param {string} [folder] - `dist` by default
 * @returns {Promise<{ url: string, npmrc: string, close: () => Promise<void> }>} `npmrc` is the line for the `.npmrc`
 *   beside the `package.json` that installs from here; packages of other scopes still come from where they always do
 */
export async function start(folder = join(root, 'dist')) {
  const tarballs = readTarballs(folder);
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url).slice(1);
    const file = tarballs.find(({ name }) => path === `tarballs/${name}`);
    if (file) return response.end(file.bytes);
    const found = tarballs.find(({ manifest }) => path === manifest.name);
    response.statusCode = found ? 200 : 404;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(found ? packument(found, url) : { error: 'not_found' }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}/`;
  const close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url, npmrc: `@actory:registry=${url}\n`, close };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { npmrc } = await start(process.argv[2]);
  process.stdout.write(npmrc);
}
