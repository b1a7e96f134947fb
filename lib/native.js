'use strict';

const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { version } = require('../package.json');
const { failure, reasonOf } = require('./error');

const OS = process.platform;
const CPU = process.arch;
const LIBC = OS === 'linux' ? libcOfNode() : undefined;
const ABI = { glibc: '-gnu', musl: '-musl' }[LIBC] ?? (OS === 'win32' ? '-msvc' : '');

/** This platform as napi-rs names it, in the name of its package and of its addon. */
const PLATFORM = `${OS}-${CPU}${ABI}`;
const PACKAGE = `@actory/websocket-${PLATFORM}`;

/** Found as npm finds it, so that what is loaded is what npm has installed. */
function libcOfNode() {
  const { report } = process;
  const { excludeNetwork } = report;
  // Otherwise a report looks up the names of all peers.
  report.excludeNetwork = true;
  const { header } = report.getReport();
  report.excludeNetwork = excludeNetwork;
  return header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

/** The addon of the platform's package, or nothing on a platform that has none. */
function requirePackage() {
  // Word for word, so that tools which follow `require` find them, and in a `try`, which tells those tools that one
  // may be missing. The same platforms as `napi.targets` in package.json.
  try {
    switch (PLATFORM) {
      case 'darwin-arm64':
        return require('@actory/websocket-darwin-arm64');
      case 'darwin-x64':
        return require('@actory/websocket-darwin-x64');
      case 'linux-arm64-gnu':
        return require('@actory/websocket-linux-arm64-gnu');
      case 'linux-arm64-musl':
        return require('@actory/websocket-linux-arm64-musl');
      case 'linux-x64-gnu':
        return require('@actory/websocket-linux-x64-gnu');
      case 'linux-x64-musl':
        return require('@actory/websocket-linux-x64-musl');
      case 'win32-x64-msvc':
        return require('@actory/websocket-win32-x64-msvc');
    }
  } catch (cause) {
    throw missing(
      `${PACKAGE} does not load: ${firstLine(cause)}. Run "npm install ${PACKAGE}@${version}" on the machine that runs the ` +
        'server; npm leaves it out with --omit=optional, and where node_modules or the lock file came from another platform ' +
        '(then remove both, and "npm install" again)',
      cause,
    );
  }
}

/** The addon that `npm run build` has left in this folder. */
function requireBuilt() {
  try {
    return require(`../actory-websocket.${PLATFORM}.node`);
  } catch (cause) {
    throw missing(`the one that was built here does not load: ${firstLine(cause)}`, cause);
  }
}

function load() {
  if (existsSync(join(__dirname, '..', `actory-websocket.${PLATFORM}.node`))) return requireBuilt();
  const addon = requirePackage();
  if (addon === undefined) throw missing('there is no package with one');
  return addon;
}

function missing(reason, cause) {
  return failure(
    Error,
    'ERR_NATIVE_MISSING',
    `No native addon of @actory/websocket ${version} for ${PLATFORM} ` +
      `(os ${OS}, cpu ${CPU}${LIBC ? `, libc ${LIBC}` : ''}; Node ${process.version}): ${reason}. ` +
      'To build it from source, which takes Rust (cargo) and a C linker: "npm ci && npm run build" in a clone of the ' +
      'repository, then "npm install" with the path of the clone.',
    cause,
  );
}

const firstLine = (error) => reasonOf(error).split('\n')[0];

module.exports = load();
