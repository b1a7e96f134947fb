'use strict';

const { Ending } = require('./ending');
const { failure } = require('./error');

const KEY = Symbol.for('@actory/websocket');
/** Of the registry's form, not of the package. Copies of the package with the same one share the registry. */
const VERSION = 4;

/**
 * State that all copies of this module in one realm share: bundlers and module reloads load a package more than once,
 * and a route handler must find the manager that the server's own copy made.
 *
 * - `managers`: name -> WebSocketManager, from construction until closed
 * - `claimed`: sockets that a manager has taken
 * - `warned`: codes of warnings that were given
 * - `ending`: the `Ending` of the process
 */
function registry() {
  const found = globalThis[KEY];
  if (found !== undefined) {
    if (found?.version === VERSION) return found;
    throw failure(
      Error,
      'ERR_INTERNAL',
      `Another release of @actory/websocket (registry version ${String(found?.version)}, this one has ${VERSION}) is loaded in this process`,
    );
  }
  const managers = new Map();
  const made = Object.freeze({
    version: VERSION,
    managers,
    claimed: new WeakSet(),
    warned: new Set(),
    ending: new Ending(managers),
  });
  Object.defineProperty(globalThis, KEY, { value: made });
  return made;
}

/** @throws {Error} `ERR_NAME_TAKEN` */
function checkNameIsFree(name) {
  if (!registry().managers.has(name)) return;
  throw failure(
    Error,
    'ERR_NAME_TAKEN',
    `There is a WebSocketManager "${name}" in this process already: use getWebSocketManager(${JSON.stringify(name)}), ` +
      'await close() of the other one first, or give this one another "name"',
  );
}

/** The manager of that name, as `getWebSocketManager` documents it. */
function findManager(name) {
  const manager = registry().managers.get(name);
  if (manager !== undefined) return manager;
  throw failure(
    Error,
    'ERR_NO_MANAGER',
    `There is no WebSocketManager "${name}" in this process. Make it where the HTTP server is made, before it is used: ` +
      `new WebSocketManager(server${name === 'default' ? '' : `, { name: ${JSON.stringify(name)} }`}). ` +
      'With Next.js that is the custom server file; "next start" and "next dev" alone have no place for it, ' +
      'and a worker thread or another process has managers of its own.',
  );
}

module.exports = { registry, checkNameIsFree, findManager };
