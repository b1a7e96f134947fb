'use strict';

const { toId } = require('./argument');
const { invalidArg } = require('./error');
const { toPayload } = require('./payload');

/** The connections of this process. Documented in index.d.ts. */
class ConnectionManager {
  #native;
  #directory;

  constructor(native, directory) {
    this.#native = native;
    this.#directory = directory;
  }

  get size() {
    return this.#native.size();
  }

  get userCount() {
    return this.#native.userCount();
  }

  users() {
    return this.#native.users();
  }

  get(id) {
    if (typeof id !== 'string') throw invalidArg('id', 'a string', id);
    // The public id ends in the addon's number; the part before names the server, and is compared as a whole.
    const number = Number(id.slice(id.lastIndexOf('-') + 1));
    if (!Number.isSafeInteger(number) || number < 1) return undefined;
    const connection = this.#directory.get(number);
    return connection?.id === id && connection.isOpen ? connection : undefined;
  }

  ofUser(userId) {
    return this.#directory.all(this.#native.idsOfUser(toId(userId, 'userId')));
  }

  inRoom(room) {
    return this.#directory.all(this.#native.idsInRoom(toId(room, 'room')));
  }

  sendToUser(userId, data) {
    return this.#native.localSendToUser(toId(userId, 'userId'), toPayload(data));
  }

  broadcast(data) {
    return this.#native.localBroadcast(toPayload(data));
  }

  *[Symbol.iterator]() {
    for (const number of this.#native.ids()) {
      const connection = this.#directory.get(number);
      if (connection !== undefined) yield connection;
    }
  }
}

module.exports = { ConnectionManager };
