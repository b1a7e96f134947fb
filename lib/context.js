'use strict';

const { AsyncResource } = require('node:async_hooks');
const { carriesContext } = require('./node-internals');

const begin = () => new AsyncResource('ActoryWebSocketConnection', { requireManualDestroy: true });

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
