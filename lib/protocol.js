'use strict';

const native = require('./native').protocol();

/** Kinds of events in the addon's batches. */
const Kind = Object.freeze(native.kinds);

/** Flags of the addon's `upgrade`. */
const Flag = Object.freeze(native.flags);

/** What `setInterest` takes, by event. */
const Interest = Object.freeze(native.interests);

/** Who ended a connection, as the number of a CLOSE event says it above the code's 16 bits. */
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
};
