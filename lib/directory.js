'use strict';

const { Connection, endConnection } = require('./connection');

/**
 * The connection objects of a manager: one per connection from the time JavaScript first sees it until its
 * 'disconnect'. The connections themselves are the addon's; one that JavaScript never looks at has no object.
 */
class Directory {
  #native;
  #seen = new Map();

  constructor(native) {
    this.#native = native;
  }

  /** The object of connection `number`, made if need be; `undefined` if there is no such connection. */
  get(number) {
    return this.#seen.get(number) ?? this.#meet(number);
  }

  #meet(number) {
    // Marked before it is described: what ends in between is told by its CLOSE event, and nothing stays behind.
    if (!this.#native.markSeen(number)) return undefined;
    const info = this.#native.describe(number);
    return info === null ? undefined : this.adopt(number, info, undefined);
  }

  /** The object of a connection that the addon has just described. */
  adopt(number, info, data) {
    let connection = this.#seen.get(number);
    if (connection === undefined) {
      connection = new Connection(this.#native, number, info, data);
      this.#seen.set(number, connection);
    }
    return connection;
  }

  /** The connection is gone. Answers its object, if there is one. */
  forget(number) {
    const connection = this.#seen.get(number);
    if (connection !== undefined) {
      this.#seen.delete(number);
      endConnection(connection);
    }
    return connection;
  }

  /** All are gone. */
  clear() {
    for (const connection of this.#seen.values()) endConnection(connection);
    this.#seen.clear();
  }

  /** Objects of those of `numbers` that are still there. */
  all(numbers) {
    const found = [];
    for (const number of numbers) {
      const connection = this.get(number);
      if (connection !== undefined) found.push(connection);
    }
    return found;
  }
}

module.exports = { Directory };
