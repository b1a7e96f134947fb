'use strict';

const { toOptions } = require('./argument');
const { argOutOfRange, invalidArg } = require('./error');
const { toHeaders } = require('./headers');

/** The key of what the addon is told. The number is of its form: a bundle may have a copy of the class, but the manager is another's. */
const TOLD = Symbol.for('@actory/websocket/upgrade-refusal/1');

const KEYS = ['status', 'code', 'reason', 'closeCode', 'headers'];
/** Also what a close frame has room for behind the code. */
const MAX_CODE_BYTES = 64;
const MAX_REASON_BYTES = 1024;

/** Refuses an upgrade in the application's own words. Documented in index.d.ts. */
class UpgradeRefusal extends Error {
  constructor(options) {
    const {
      status = 403,
      code = 'ERR_REFUSED',
      reason = 'not permitted',
      closeCode,
      headers = {},
    } = toOptions(options, KEYS);
    const told = toTold({ status, code, reason, closeCode, headers });
    super(reason);
    this.status = status;
    this.code = code;
    this.closeCode = told.closeCode;
    Object.defineProperty(this, TOLD, { value: told });
  }
}

Object.defineProperty(UpgradeRefusal.prototype, 'name', {
  value: 'UpgradeRefusal',
  configurable: true,
  writable: true,
});

/** @throws {TypeError | RangeError} for what the addon can't be told */
function toTold({ status, code, reason, closeCode, headers }) {
  return {
    status: toInteger(status, 'options.status', 400, 599),
    code: toCode(code),
    reason: toSentence(reason),
    closeCode:
      closeCode === undefined ? 4000 + status : toInteger(closeCode, 'options.closeCode', 4000, 4999),
    headers: toHeaders(headers, 'options.headers'),
  };
}

/** Names and values by turns, as pairs. */
function* pairsOf(headers) {
  for (let i = 0; i < headers.length; i += 2) yield [headers[i], headers[i + 1]];
}

function toInteger(value, name, min, max) {
  if (typeof value !== 'number') throw invalidArg(name, 'a number', value);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw argOutOfRange(name, `an integer from ${min} to ${max}`, value);
  }
  return value;
}

function toCode(value) {
  if (typeof value !== 'string') throw invalidArg('options.code', 'a string', value);
  if (value === 'ERR_REFUSED') return value;
  if (value.length > MAX_CODE_BYTES || !/^[\w.:-]+$/.test(value) || value.startsWith('ERR_')) {
    throw argOutOfRange(
      'options.code',
      `1 to ${MAX_CODE_BYTES} letters, digits and "_.:-", and no code of this package (ERR_…)`,
      value,
    );
  }
  return value;
}

function toSentence(value) {
  if (typeof value !== 'string') throw invalidArg('options.reason', 'a string', value);
  if (Buffer.byteLength(value) > MAX_REASON_BYTES) {
    throw argOutOfRange('options.reason', `at most ${MAX_REASON_BYTES} bytes of UTF-8`, value);
  }
  return value;
}

/** The refusal as the addon takes it if `value` is an `UpgradeRefusal`, else `undefined`. */
function refusalOf(value) {
  try {
    const told = value?.[TOLD];
    // Checked anew: a proxy may answer anything for any key.
    return told === undefined ? undefined : toTold({ ...told, headers: pairsOf(told.headers) });
  } catch {
    return undefined;
  }
}

module.exports = { UpgradeRefusal, refusalOf };
