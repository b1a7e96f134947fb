'use strict';

const { performance } = require('node:perf_hooks');
const { clearTimeout, setTimeout } = require('node:timers');
const { runInThisContext } = require('node:vm');

// Runners may give each test file globals of its own, and have faked them before this file is loaded: these are Node's.
const { queueMicrotask, WebSocket } = runInThisContext('globalThis');
const { now } = runInThisContext('Date');
// jest's `require` would load packages with globals that are faked. Node has this from 20.16 on.
const { createRequire } =
  runInThisContext('process').getBuiltinModule?.('node:module') ?? require('node:module');

/** What tests fake, as it was. */
module.exports = {
  clearTimeout,
  createRequire,
  /** `Date.now`. */
  now,
  performance,
  queueMicrotask,
  setTimeout,
  /** Node's own class, from 22 on. */
  WebSocket,
};
