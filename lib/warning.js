'use strict';

const { performance } = require('node:perf_hooks');
const { isObject, reasonOf } = require('./error');

const TYPE = 'ActoryWebSocketWarning';
/** Least time between two warnings of one code: clients may cause any number. Milliseconds. */
const WARN_MS = 1000;

/** By code: until when no warning is given, and how many were left out since the last one. */
const given = new Map();

/** Number of warnings of this code that were left out before this one, or `undefined` if this one is to be left out too. */
function due(code) {
  const now = performance.now();
  const last = given.get(code);
  if (last !== undefined && now < last.until) {
    last.leftOut += 1;
    return undefined;
  }
  given.set(code, { until: now + WARN_MS, leftOut: 0 });
  return last?.leftOut ?? 0;
}

/**
 * Hands an error to `process.emitWarning`, unless one of its code was less than a second ago. As text: an `Error` of another
 * realm (a bundler's or test runner's context) would be refused there.
 */
function warn(error) {
  let code = 'ERR_INTERNAL';
  let detail = '';
  try {
    if (isObject(error)) {
      if (typeof error.code === 'string') code = error.code;
      // The stack of a cause leads to the place, and ours only into this package.
      const { stack } = isObject(error.cause) ? error.cause : error;
      if (typeof stack === 'string') detail = stack;
    }
  } catch {
    // A getter of the thrown value threw: its text has to do.
  }
  const leftOut = due(code);
  if (leftOut === undefined) return;
  const more = leftOut === 0 ? '' : ` (${leftOut} more with ${code} before it were left out)`;
  process.emitWarning(`${reasonOf(error)}${more}`, { type: TYPE, code, detail });
}

/** Tells the process something that an operator has to know, in one line of its standard error. */
function notify(code, message) {
  process.emitWarning(message, { type: TYPE, code });
}

module.exports = { warn, notify };
