'use strict';

const { describe, failure } = require('./error');
const { afterAnswers, isAnswerDue } = require('./pipeline');
const { registry } = require('./registry');
const { passOn, pathOf, refuse, withoutSlash } = require('./upgrade');

/**
 * The listeners on a server that all its managers share, also those of other copies of the package. An upgrade of a
 * manager's path goes to that manager. Any other is left alone, or, if nobody else listens, goes back to the server as the
 * plain request that it would be without us.
 */
class ServerHook {
  #server;
  /** Path without its trailing slash -> the door of the manager that takes its upgrades. */
  #doors = new Map();
  /** What the server's limit of listeners was raised to. */
  #maxListeners;

  constructor(server) {
    this.#server = server;
  }

  /** The door at a path, or `undefined`. */
  at(path) {
    return this.#doors.get(withoutSlash(path));
  }

  /**
   * Opens a manager's door. `take` is given its upgrades, `close` is called when the server has closed.
   *
   * @param {{name: string, path: string, take: (req: object, socket: object, head: Buffer) => void, close: () => void}} door
   */
  add(door) {
    if (this.#doors.size === 0) this.#makeRoom();
    this.#doors.set(withoutSlash(door.path), door);
    try {
      this.#listen();
    } catch (error) {
      this.remove(door);
      throw error;
    }
  }

  remove(door) {
    this.#doors.delete(withoutSlash(door.path));
    if (this.#doors.size > 0) return;
    this.#unlisten();
    const server = this.#server;
    // Unless the application has set another one meanwhile.
    if (this.#maxListeners !== undefined && server.getMaxListeners() === this.#maxListeners) {
      server.setMaxListeners(this.#maxListeners - 1);
    }
    this.#maxListeners = undefined;
  }

  /** Node warns of more listeners than so many; the one that is ours takes none of the application's places. */
  #makeRoom() {
    const max = this.#server.getMaxListeners?.();
    if (!Number.isInteger(max) || max === 0) return;
    this.#maxListeners = max + 1;
    this.#server.setMaxListeners(max + 1);
  }

  /** In front of what others have put there meanwhile. */
  #listen() {
    this.#unlisten();
    this.#server.prependListener('upgrade', this.#onUpgrade);
    this.#server.on('close', this.#onClose);
  }

  #unlisten() {
    this.#server.removeListener('upgrade', this.#onUpgrade);
    this.#server.removeListener('close', this.#onClose);
  }

  #onUpgrade = (req, socket, head) => {
    const { claimed } = registry();
    // Given to `handleUpgrade`, or ended, by a listener before us.
    if (claimed.has(socket) || socket.destroyed) return;
    const door = this.#doors.get(pathOf(req.url));
    if (door !== undefined) {
      // No mistake of the application's, so `take`, which would tell of it, isn't asked.
      if (isAnswerDue(req, socket)) refuse(req, socket, { code: 'ERR_HANDOVER' });
      else door.take(req, socket, head);
      // Also where it failed: it was answered, and is nobody else's.
      claimed.add(socket);
    } else if (this.#server.rawListeners('upgrade').every((listener) => listener === this.#onUpgrade)) {
      afterAnswers(req, socket, () => passOn(this.#server, req, socket, head, this.#unheard));
    }
  };

  #onClose = () => {
    for (const door of [...this.#doors.values()]) door.close();
  };

  #unheard = (work) => {
    this.#server.removeListener('upgrade', this.#onUpgrade);
    try {
      work();
    } finally {
      // The request's handler may have closed the last manager.
      if (this.#doors.size > 0) this.#listen();
    }
  };
}

/** The hook of a server, which it has for as long as it lives. */
function hookOf(server) {
  const { hooks } = registry();
  if (!hooks.has(server)) hooks.set(server, new ServerHook(server));
  return hooks.get(server);
}

/** @throws {RangeError} `ERR_OPTION_OUT_OF_RANGE` if another manager takes the upgrades of that path */
function checkPathIsFree(server, path) {
  const other = registry().hooks.get(server)?.at(path);
  if (other === undefined) return;
  throw failure(
    RangeError,
    'ERR_OPTION_OUT_OF_RANGE',
    `"path" must be one that no other manager of the server has; the WebSocketManager ${JSON.stringify(other.name)} has ${describe(other.path)}`,
  );
}

module.exports = { checkPathIsFree, hookOf };
