'use strict';

const { describe, failure } = require('./error');
const { serverOf, upgradeQuestionOf } = require('./node-internals');
const { afterAnswers, isAnswerDue } = require('./pipeline');
const { answerPlainly } = require('./plain-request');
const { registry } = require('./registry');
const { isCutShort, isWebSocket, pathOf, refuse, withoutSlash } = require('./upgrade');

const isRequest = (req) =>
  typeof req?.url === 'string' &&
  typeof req.httpVersion === 'string' &&
  Array.isArray(req.rawHeaders) &&
  req.rawHeaders.length % 2 === 0;

/** The key of a server's hook. The number is of the hook's form: copies of the package with the same one share it. */
const HOOK = Symbol.for('@actory/websocket/server-hook/1');

/**
 * The one hook of all managers of a server, also those of other copies of the package. An upgrade to WebSocket of a manager's
 * path goes to that manager, and nobody else hears of it. Other upgrades are left to the server's other listeners; on a
 * manager's path, or where there are none, it is the plain request that it would be without us.
 *
 * Node emits 'upgrade' through the server, so the hook is around its `emit`. It is also the first of the listeners: Node looks
 * for one before it emits, and a holder of the `emit` from before us, as Fastify is for its second server, gets past ours.
 * Since 22.21 and 24.9 Node asks the server which requests are upgrades; the hook is around that too.
 */
class ServerHook {
  #server;
  /** Path without its trailing slash -> the door of the manager that takes its upgrades. */
  #doors = new Map();
  /** The limit of listeners that the server was given. */
  #maxListeners;

  /** For as long as the server lives: others may be around ours by the time that the last manager goes. */
  constructor(server) {
    this.#server = server;
    const deal = (_name, req, socket, head) => this.#deal(req, socket, head);
    this.#wrap('emit', (inner) => {
      return function emit(...args) {
        return (args[0] === 'upgrade' && deal(...args)) || Reflect.apply(inner(), this, args);
      };
    });
    const question = upgradeQuestionOf(server);
    if (question === undefined) return;
    const isUpgrade = (req, ask) => this.#isUpgrade(req, ask);
    this.#wrap(question, (inner) => {
      return function answer(...args) {
        return isUpgrade(args[0], () => Reflect.apply(inner(), this, args));
      };
    });
  }

  /** Puts in place of a method of the server's what `wrap` makes: `inner()` is the server's own, or what its class has at that time. */
  #wrap(name, wrap) {
    const server = this.#server;
    const own = Object.getOwnPropertyDescriptor(server, name)?.value;
    const value = wrap(() => own ?? Object.getPrototypeOf(server)[name]);
    Object.defineProperty(server, name, { value, configurable: true, enumerable: false, writable: true });
  }

  /** The door at a path, or `undefined`. */
  at(path) {
    return this.#doors.get(withoutSlash(path));
  }

  /**
   * Opens a manager's door. `take` is given its upgrades, `refused` is told of those that could not be given to it, with what the client was
   * told; `close` is called when the server has closed.
   *
   * @param {{name: string, path: string, take: (req: object, socket: object, head: Buffer) => void,
   *   refused: (req: object, socket: object, told: {code: string, message: string}) => void, close: () => void}} door
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

  /** Of an upgrade that got past our `emit`, or that others are to hear of. */
  #onUpgrade = (req, socket, head) => {
    this.#deal(req, socket, head);
  };

  /** True if the upgrade was ours to deal with. */
  #deal(req, socket, head) {
    // Others may emit whatever they like.
    if (this.#doors.size === 0 || !isRequest(req)) return false;
    const { claimed } = registry();
    if (claimed.has(socket)) return true;
    const door = this.#doors.get(pathOf(req.url));
    if (door !== undefined && isWebSocket(req)) {
      // No mistake of the application's, so `take`, which would tell of it, isn't asked.
      if (isAnswerDue(req, socket)) door.refused(req, socket, refuse(req, socket, { code: 'ERR_HANDOVER' }));
      else if (!socket.destroyed) door.take(req, socket, head);
      // Also where it failed: it was answered, and is nobody else's.
      claimed.add(socket);
      return true;
    }
    if (door === undefined && this.#hasOthers()) return false;
    // It may have come by another server, which has handlers of its own.
    const server = serverOf(req) ?? this.#server;
    if (isCutShort(req)) refuse(req, socket, { code: 'ERR_HEADERS_TOO_LARGE' });
    else afterAnswers(req, socket, () => answerPlainly(server, req, socket, head));
    return true;
  }

  /** True if Node shall take a request for an upgrade. `ask` tells what the server without us says to that. */
  #isUpgrade(req, ask) {
    // Node ends the connection where nobody listens, because the application took our listener away.
    if (this.#doors.size === 0 || this.#server.listenerCount('upgrade') === 0) return ask();
    const door = this.#doors.get(pathOf(req.url));
    if (door !== undefined && isWebSocket(req)) return true;
    // Node has no answer to it then.
    if (this.#server.listenerCount('request') === 0) return true;
    return door === undefined && this.#hasOthers() && ask();
  }

  /** True if somebody else listens for upgrades. */
  #hasOthers() {
    return this.#server.rawListeners('upgrade').some((listener) => listener !== this.#onUpgrade);
  }

  #onClose = () => {
    for (const door of [...this.#doors.values()]) door.close();
  };
}

/** The hook of a server, which it has for as long as it lives. */
function hookOf(server) {
  if (server[HOOK] === undefined) Object.defineProperty(server, HOOK, { value: new ServerHook(server) });
  return server[HOOK];
}

/** @throws {RangeError} `ERR_OPTION_OUT_OF_RANGE` if another manager takes the upgrades of that path */
function checkPathIsFree(server, path) {
  const other = server[HOOK]?.at(path);
  if (other === undefined) return;
  throw failure(
    RangeError,
    'ERR_OPTION_OUT_OF_RANGE',
    `"path" must be one that no other manager of the server has; the WebSocketManager ${JSON.stringify(other.name)} has ${describe(other.path)}`,
  );
}

module.exports = { checkPathIsFree, hookOf };
