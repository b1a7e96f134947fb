'use strict';

// Adds what next build --output standalone leaves out for a custom server: the server itself, and all that only it imports.

const { existsSync, realpathSync } = require('node:fs');
const fs = require('node:fs/promises');
const { createRequire } = require('node:module');
const { dirname, isAbsolute, join, relative, sep } = require('node:path');

/** Files that may be the server, if none is named. */
const ENTRIES = ['server.ts', 'server.mts', 'server.js', 'server.mjs'];
/** Name of the server in the standalone folder, beside the server.js that starts it. */
const BUNDLE = 'custom-server.mjs';
const NODE_MODULES = `${sep}node_modules${sep}`;

const readJson = async (path) => JSON.parse(await fs.readFile(path, 'utf8'));
const isInside = (folder, path) => path === folder || path.startsWith(folder + sep);

/** A dependency of the application's, as it finds it itself; else one of `by`, which is a dependency of the application's. */
function requireOf(app, name, by) {
  const require = createRequire(join(app, 'package.json'));
  try {
    return require(name);
  } catch (error) {
    if (by === undefined || error.code !== 'MODULE_NOT_FOUND') throw error;
    return createRequire(require.resolve(by))(name);
  }
}

/** The output of `next build`. */
async function readBuild(app, dist) {
  const path = join(app, dist, 'required-server-files.json');
  if (!existsSync(path)) {
    throw new Error(`There is no ${path}: run "next build" first, and this in the folder of the application`);
  }
  const { config, relativeAppDir } = await readJson(path);
  const folder = join(app, dist, 'standalone');
  const home = join(folder, relativeAppDir);
  if (config.output !== 'standalone' || !existsSync(join(home, 'server.js'))) {
    throw new Error(
      `There is no ${join(home, 'server.js')}: next.config has to say output: 'standalone' when it builds`,
    );
  }
  const root = realpathSync(config.outputFileTracingRoot ?? app);
  return { config, folder, home, root };
}

function entryOf(app, entry) {
  const found = (entry === undefined ? ENTRIES : [entry]).find((name) => existsSync(join(app, name)));
  if (found !== undefined) return found;
  throw new Error(
    `There is no ${entry ?? ENTRIES.join(', no ')} in ${app}: name the file of your custom server`,
  );
}

/**
 * Bundles what is the application's own, packages of its workspace included, and leaves what lies in `node_modules` where it is.
 * Answers with what of that CommonJS requires.
 */
async function bundle(app, root, entry, outfile) {
  let esbuild;
  try {
    esbuild = requireOf(app, 'esbuild', 'tsx');
  } catch (cause) {
    throw new Error('It takes esbuild: npm install --save-dev tsx, which brings it (or esbuild itself)', {
      cause,
    });
  }
  const required = new Set();
  const keepPackages = {
    name: 'keep-packages',
    setup(build) {
      build.onResolve(
        { filter: /^[^./#]/ },
        async ({ path, kind, importer, resolveDir, pluginData, with: attributes }) => {
          if (pluginData === keepPackages || kind === 'entry-point' || isAbsolute(path)) return undefined;
          const find = (folder) =>
            build.resolve(path, {
              kind,
              importer,
              resolveDir: folder,
              pluginData: keepPackages,
              with: attributes,
            });
          const found = await find(resolveDir);
          if (found.errors.length > 0 || found.external) return found;
          const file = realpathSync(found.path);
          if (!file.includes(NODE_MODULES)) return found;
          if (!isInside(root, file)) {
            const text = `${file} lies outside of ${root}: outputFileTracingRoot in next.config has to be a folder above both`;
            return { errors: [{ text }] };
          }
          // A package that only a package of the workspace has is not found by its name from where the bundle is.
          const here = await find(app);
          const same = here.errors.length === 0 && realpathSync(here.path) === file;
          const kept = same ? path : `./${relative(app, file).replaceAll(sep, '/')}`;
          if (kind.startsWith('require')) required.add(kept);
          return { path: kept, external: true };
        },
      );
    },
  };
  await esbuild.build({
    absWorkingDir: app,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: `node${process.versions.node}`,
    // For CommonJS of the application's own, which would have no `require` in an ES module.
    banner: {
      js: "import { createRequire as $createRequire } from 'node:module'; const require = $createRequire(import.meta.url);",
    },
    plugins: [keepPackages],
    logLevel: 'silent',
  });
  return required;
}

/** The files and links below `root` that a program needs; of Next's own, which have been traced already, only the link. */
async function trace(app, root, files) {
  const { nodeFileTrace } = requireOf(app, 'next/dist/compiled/@vercel/nft');
  const next = realpathSync(dirname(createRequire(join(app, 'package.json')).resolve('next/package.json')));
  const { fileList } = await nodeFileTrace(files, {
    base: root,
    processCwd: app,
    ignore: (path) => isInside(relative(root, next), path),
  });
  for (const file of files) fileList.delete(relative(root, file));
  return fileList;
}

/** Copies what is not there yet, links as links, as Next does with what it traces. */
async function copy(root, folder, name) {
  const from = join(root, name);
  const to = join(folder, name);
  if (await fs.lstat(to).catch(() => null)) return;
  const stat = await fs.lstat(from);
  if (stat.isDirectory()) return;
  await fs.mkdir(dirname(to), { recursive: true });
  if (stat.isSymbolicLink()) await fs.symlink(await fs.readlink(from), to);
  else await fs.copyFile(from, to);
}

/** Starts the server as the server.js does that Next has written, and that has no custom server. */
const starter = (config, folderOfModule) => `// Written by "actory-websocket standalone".
process.chdir(${folderOfModule});
process.env.NODE_ENV = 'production';
// Next can't read next.config here.
process.env.__NEXT_PRIVATE_STANDALONE_CONFIG = ${JSON.stringify(JSON.stringify(config))};
import('./${BUNDLE}');
`;

/**
 * Makes the standalone folder of a Next.js application run its custom server: bundles the server, adds what it imports and Next has
 * not traced, `public` and `.next/static`, and puts a `server.js` in place of Next's.
 *
 * @param {string} appFolder - of the application
 * @param {{ entry?: string, dist?: string }} [options] - file of the custom server in there, and `distDir` of next.config
 * @returns {Promise<{ folder: string, server: string }>} the standalone folder, and what starts the server in there
 * @throws {Error} if something is missing; then `server.js` is left as it is
 */
async function standalone(appFolder, { entry, dist = '.next' } = {}) {
  const app = realpathSync(appFolder);
  const { config, folder, home, root } = await readBuild(app, dist);
  const source = entryOf(app, entry);
  // Beside the server, for that is where its packages are found; under a name that is nobody's.
  const bundled = join(app, `server.${process.pid}.tmp.mjs`);
  // The tracer doesn't know what esbuild makes of `require` in an ES module.
  const requires = join(app, `server.${process.pid}.tmp.cjs`);
  try {
    const required = await bundle(app, root, source, bundled);
    await fs.writeFile(requires, [...required].map((path) => `require(${JSON.stringify(path)});\n`).join(''));
    for (const name of await trace(app, root, [bundled, requires])) await copy(root, folder, name);
    await fs.copyFile(bundled, join(home, BUNDLE));
  } finally {
    for (const path of [bundled, requires]) await fs.rm(path, { force: true });
  }
  for (const name of ['public', join(dist, 'static')]) {
    if (existsSync(join(app, name))) await fs.cp(join(app, name), join(home, name), { recursive: true });
  }
  const { type } = await readJson(join(home, 'package.json')).catch(() => ({}));
  await fs.writeFile(
    join(home, 'server.js'),
    starter(config, type === 'module' ? 'import.meta.dirname' : '__dirname'),
  );
  return { folder, server: relative(folder, join(home, 'server.js')) };
}

module.exports = { standalone };
