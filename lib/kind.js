'use strict';

/** Kinds of events in the addon's batches, as `src/binding/batch.rs` numbers them. */
const Kind = Object.freeze({
  OPEN: 1,
  TEXT: 2,
  BINARY: 3,
  CLOSE: 4,
  SLOW: 5,
  UPGRADED: 6,
  REFUSED: 7,
  CLOSED: 8,
  BRIDGE_READABLE: 9,
  BRIDGE_DRAIN: 10,
  BRIDGE_END: 11,
  SETTLED: 12,
  FAILED: 13,
  BROKER: 14,
  CHANNEL: 15,
  PROBLEM: 16,
  FORBIDDEN: 17,
  REFUSAL: 18,
  BRIDGE_QUESTION: 19,
  PONG: 20,
  DRAIN: 21,
});

/** Who ended a connection, as the number of a CLOSE event says it above the code's 16 bits. */
const CLOSED_BY = Object.freeze(['peer', 'server', 'network']);

module.exports = { Kind, CLOSED_BY };
