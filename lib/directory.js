'use strict';

const { Connection, endConnection, releaseContext } = require('./connection');

/**
 * The connection objects of a manager: one per connection from the time JavaScript first sees it until its
 * 'disconnect'. The connections themselves are the addon's; one that JavaScript never looks at has no object.
 */
class Directory {
  #native;
  #beginningOf;
  #seen = new Map();

  /** `beginningOf(number)` is the handshake of a connection that is just being made, or `undefined`. */
  constructor(native, beginningOf) {
    this.#native = native;
    this.#beginningOf = beginningOf;
  }

  /** The object of connection `number`, made if need be; `undefined` if there is no such connection. */
  get(number) {
    const connection = this.#seen.get(number);
    if (connection !== undefined) return connection;
    // Only one that is still open once it is marked has its end told, so that its object does not stay for ever.
    return this.#native.markSeen(number) ? this.ofEvent(number) : undefined;
  }

  /**
   * The object of the connection that an event of the current batch is about. The event itself has marked it as seen.
   */
  ofEvent(number) {
    const connection = this.#seen.get(number);
    if (connection !== undefined) return connection;
    const info = this.#native.describe(number);
    return info === null ? undefined : this.adopt(number, info);
  }

  /** The object of a connection that the addon has just described. */
  adopt(number, info) {
    let connection = this.#seen.get(number);
    if (connection === undefined) {
      const beginning = this.#beginningOf(number);
      connection = new Connection(this.#native, number, info, beginning?.data, beginning?.context);
      this.#seen.set(number, connection);
    }
    return connection;
  }

  /**
   * The connection of an event is gone. Answers its object, made for a last time if `wanted` and nobody had seen it. The caller has to
   * release its context.
   */
  forget(number, wanted) {
    const connection = wanted ? this.ofEvent(number) : this.#seen.get(number);
    if (connection !== undefined) {
      this.#seen.delete(number);
      endConnection(connection);
    }
    return connection;
  }

  /** All are gone. */
  clear() {
    for (const connection of this.#seen.values()) {
      endConnection(connection);
      releaseContext(connection);
    }
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
