'use strict';

const { failure, reasonOf } = require('./error');

/**
 * The addon, loaded once by the loader that `napi build` writes.
 *
 * @throws {Error} `ERR_NATIVE_MISSING` if there is none for this platform
 */
function load() {
  try {
    return require('../native.js');
  } catch (cause) {
    const libc = process.platform === 'linux' ? (isGlibc() ? ' (glibc)' : ' (musl)') : '';
    throw failure(
      Error,
      'ERR_NATIVE_MISSING',
      `The native addon of @actory/websocket does not load on ${process.platform}-${process.arch}${libc}, ` +
        `Node ${process.version}: ${reasonOf(cause).split('\n')[0]}. ` +
        'Build it with "npm install && npm run build" in the folder of the package; that needs Rust (cargo) and a C linker.',
      cause,
    );
  }
}

/** The report names the C library's version only where it is glibc. */
function isGlibc() {
  try {
    return Boolean(process.report.getReport().header.glibcVersionRuntime);
  } catch {
    return true;
  }
}

module.exports = load();
