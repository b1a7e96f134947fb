'use strict';

const { catalogue } = require('./native');

const { errorCodes, closeCodes, sendableCodes } = catalogue();

/** Every error code of the package, by itself: `ErrorCode.ERR_CLOSED === 'ERR_CLOSED'`. */
const ErrorCode = Object.freeze(Object.fromEntries(errorCodes.map(({ code }) => [code, code])));

/** Every close code the package knows, by name: `CloseCode.SLOW_CONSUMER === 4004`. */
const CloseCode = Object.freeze(Object.fromEntries(closeCodes.map(({ name, code }) => [name, code])));

const advice = new Map(closeCodes.map(({ code, advice: what }) => [code, what]));

/** A refusal for now: an UpgradeRefusal closes with 4000 plus its status by default, and 429 and those from 500 ask to come later. */
const isLater = (code) => code === 4429 || (code >= 4500 && code < 4600);

/** Advice to a client after a close code. Documented in index.d.ts; browser.mjs has the same for bundles. */
function closeAdvice(code, opened = true) {
  if (code === CloseCode.ABNORMAL && !opened) return 'refresh';
  return advice.get(code) ?? (isLater(code) ? 'reconnect' : 'stop');
}

/** True if an application may close with that code. */
const isSendable = (code) => sendableCodes.some(([first, last]) => code >= first && code <= last);

/** The codes with which it may, for people. */
const SENDABLE = sendableCodes.map((range) => range.join('-')).join(', ');

const meanings = new Map(errorCodes.map(({ code, meaning }) => [code, meaning]));

/** The meaning of an error code, in words that may be told to anyone; `undefined` for what is none. */
const meaningOf = (code) => meanings.get(code);

module.exports = { ErrorCode, CloseCode, closeAdvice, SENDABLE, isSendable, meaningOf };
