'use strict';

const { failure } = require('./error');

/** The argument of listeners of 'broker'. Documented in index.d.ts. */
function toBrokerStatus({ state, since, code, message, gapSince, gapUntil }) {
  const status = { state, since };
  if (code !== undefined) status.error = failure(Error, code, message);
  if (gapSince !== undefined) Object.assign(status, { gapSince, gapUntil });
  return status;
}

/** Of a notice without an error of its own. */
const CODE = 'ACTORY_WS_BROKER';

const clock = (ms) => new Date(ms).toISOString();

/** The meaning of a state for a manager, and for a `RedisPubSub`. */
const MANAGER = {
  down: 'messages reach connections of this process only',
  degraded: 'messages may be late or reach only some servers',
};
const PUBSUB = {
  down: 'nothing can be published, and no message comes',
  degraded: 'messages may be late or missing',
};

/**
 * The code and the text of a status for when nobody listens; `undefined` where it is good news alone.
 *
 * @param consequences - what each state but `up` means
 */
function noticeOf({ state, error, gapSince, gapUntil }, consequences) {
  const gap =
    gapSince === undefined
      ? ''
      : `Messages that were published between ${clock(gapSince)} and ${clock(gapUntil)} may not have arrived here`;
  if (state === 'up') return gap === '' ? undefined : [CODE, `Redis is back. ${gap}`];
  const text = `Redis is ${state}, ${consequences[state]}: ${error?.message ?? 'the reason is not known'}`;
  return [error?.code ?? CODE, gap === '' ? text : `${text}. ${gap}`];
}

module.exports = { MANAGER, PUBSUB, noticeOf, toBrokerStatus };
