'use strict';

/** Closers of all that a test opened. */
const opened = [];

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** Has `close` called after the test; what was opened last is closed first. */
function closeAfterwards(close) {
  opened.push(close);
}

module.exports = { closeAfterwards };
