'use strict';

/** Milliseconds by which the clock is ahead, which never go back. */
let ahead = 0;

/** Lets time pass, as far as `performance.now()` tells; it stands still then until the end of the test. */
function pass(ms) {
  jest.restoreAllMocks();
  ahead += ms;
  const now = performance.now() + ahead;
  jest.spyOn(performance, 'now').mockImplementation(() => now);
}

/**
 * The warnings of `process.emitWarning` until the end of the test: a list that grows. The second in which the process is not
 * warned again is over.
 */
function warnings() {
  pass(2000);
  const list = [];
  jest.spyOn(process, 'emitWarning').mockImplementation((message, options) => {
    list.push({ message, ...options });
  });
  return list;
}

/** Resolves with the next of these. */
function nextWarning() {
  pass(2000);
  return new Promise((resolve) => {
    jest
      .spyOn(process, 'emitWarning')
      .mockImplementation((message, options) => resolve({ message, ...options }));
  });
}

module.exports = { nextWarning, warnings };
