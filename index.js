'use strict';

const { invalidArg } = require('./lib/error');
const { CloseCode, closeAdvice, ErrorCode } = require('./lib/catalogue');
const { WebSocketManager } = require('./lib/manager');
const { RedisPubSub } = require('./lib/pubsub');
const { findManager } = require('./lib/registry');
const { RequestError } = require('./lib/request-error');
const { UpgradeRefusal } = require('./lib/upgrade-refusal');
const { shutdownOnSignals } = require('./lib/shutdown');

/** The manager of that name in this process. Documented in index.d.ts. */
function getWebSocketManager(name = 'default') {
  if (typeof name !== 'string') throw invalidArg('name', 'a string', name);
  return findManager(name);
}

// One by one, so that Node finds the names when an ES module imports this file.
module.exports = {
  WebSocketManager,
  RedisPubSub,
  RequestError,
  UpgradeRefusal,
  getWebSocketManager,
  shutdownOnSignals,
  CloseCode,
  closeAdvice,
  ErrorCode,
};
