'use strict';

const { AsyncResource } = require('node:async_hooks');

/**
 * Whether an AsyncResource carries a context. Node keeps it under a symbol of its own: a frame of the values of all
 * AsyncLocalStorages, where it knows those (24; 22 behind a flag), or one symbol per AsyncLocalStorage. All else that is under
 * symbols is numbers, and a note for the garbage collector, which `requireManualDestroy` leaves out.
 */
function carriesContext(resource) {
  return Object.getOwnPropertySymbols(resource).some((symbol) => {
    const value = resource[symbol];
    return value !== undefined && !(typeof value === 'number' && /async_?id/i.test(symbol.description));
  });
}

/**
 * The asynchronous context of the caller, as an AsyncResource to run in; `undefined` if no AsyncLocalStorage has a value in it. Costs
 * some hundred nanoseconds.
 */
function currentContext() {
  const resource = new AsyncResource('ActoryWebSocketConnection', { requireManualDestroy: true });
  return carriesContext(resource) ? resource : undefined;
}

module.exports = { currentContext };
