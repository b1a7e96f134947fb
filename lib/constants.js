'use strict';

const native = require('./native').constants();

/** V8 looks each property of an object up that the addon has filled, which costs a message a tenth. It knows those of a copy. */
const known = (constants) => Object.freeze({ ...constants });

/** Kinds of events in the addon's batches. */
const Kind = known(native.kinds);

/** Flags of the addon's `upgrade`. */
const Flag = known(native.flags);

/** The number that `setInterest` takes, by event. */
const Interest = known(native.interests);

/** The side that ended a connection, as the number of a CLOSE event says it above the code's 16 bits. */
const CLOSED_BY = Object.freeze(native.closedBy);

module.exports = {
  Kind,
  Flag,
  Interest,
  CLOSED_BY,
  /** The subprotocol before a token. */
  BEARER: native.bearer,
  /** Most bytes of a user id or a room's name, of a close frame's reason, and of what a ping carries. */
  MAX_ID_BYTES: native.maxIdBytes,
  MAX_REASON_BYTES: native.maxReasonBytes,
  MAX_PING_BYTES: native.maxPingBytes,
  /** Most bytes of an idempotency key, and most messages of a page of a history. */
  MAX_KEY_BYTES: native.maxKeyBytes,
  MAX_PAGE: native.maxPage,
};
