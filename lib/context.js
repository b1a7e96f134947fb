'use strict';

const { AsyncResource } = require('node:async_hooks');

const begin = () => new AsyncResource('ActoryWebSocketConnection', { requireManualDestroy: true });

/** The symbols under which every AsyncResource has its numbers. */
const NUMBERS = (() => {
  const resource = begin();
  resource.emitDestroy();
  return Object.getOwnPropertySymbols(resource).filter(
    (symbol) => typeof resource[symbol] === 'number' && /async_?id/i.test(symbol.description),
  );
})();

/**
 * Whether an AsyncResource carries a context. Node keeps it under a symbol of its own: a frame of the values of all
 * AsyncLocalStorages, where it knows those (24; 22 behind a flag), or one symbol per AsyncLocalStorage. All else that is under
 * symbols is numbers, and a note for the garbage collector, which `requireManualDestroy` leaves out.
 */
function carriesContext(resource) {
  for (const symbol of Object.getOwnPropertySymbols(resource)) {
    if (resource[symbol] !== undefined && !NUMBERS.includes(symbol)) return true;
  }
  return false;
}

/**
 * The asynchronous context of the caller, as an AsyncResource to run in; `undefined` if no AsyncLocalStorage has a value in it. The caller
 * has to call its `emitDestroy`, for who keeps a note of each resource until then (tracers, jest's --detectOpenHandles). Costs some
 * hundred nanoseconds.
 */
function currentContext() {
  const resource = begin();
  if (carriesContext(resource)) return resource;
  resource.emitDestroy();
  return undefined;
}

module.exports = { currentContext };
