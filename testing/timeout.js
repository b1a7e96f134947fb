'use strict';

const { failure, describe } = require('../lib/error');

const MAX_MS = 2 ** 31 - 1;

/** Checks a number of milliseconds that a test waits. */
function toTimeout(value, name) {
  if (typeof value !== 'number') {
    throw failure(TypeError, 'ERR_INVALID_OPTION', `"${name}" must be a number; got ${describe(value)}`);
  }
  if (!(value > 0 && value <= MAX_MS)) {
    throw failure(
      RangeError,
      'ERR_OPTION_OUT_OF_RANGE',
      `"${name}" must be above 0 and at most ${MAX_MS}; got ${value}`,
    );
  }
  return value;
}

module.exports = { toTimeout };
