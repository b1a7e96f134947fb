'use strict';

const { clearTimeout, setImmediate, setTimeout } = require('node:timers'); // not the global ones, which tests fake
const { toBytes } = require('./chunk');
const { REFUSED_MS } = require('./farewell');
const { isTransportDestroyed } = require('./node-internals');

/** Time for a socket to pass on its last bytes and close, once its connection is over. Milliseconds. */
const LINGER_MS = 5000;

const nothing = () => {};

/**
 * Carries the bytes of a connection whose socket has no descriptor to take: TLS, or any other `Duplex`. Both ways
 * with backpressure. From here on the socket is the bridge's alone: `write`, `end` and `destroy` of the object do
 * nothing for anyone else, because other `upgrade` listeners of the server (another WebSocket server, a framework's)
 * are used to answering and ending what they don't know, at once or once they have asked someone. Streams also destroy
 * themselves without an error when their transport closes, which must not be missed: Node's sockets do so in one case
 * only, and of a socket that was given to `handleUpgrade` other listeners are taken to know, once they had their turn.
 * A socket may be anyone's: where it throws, or gives something else than bytes, the connection ends as if the socket had
 * failed.
 */
class Bridge {
  #native;
  #socket;
  #onGone;
  #write;
  #end;
  #destroy;
  /** Bytes of the addon's are on their way into the socket. */
  #writing = false;
  /** No more bytes will come from the addon than it has. */
  #ending = false;
  /** The socket is closed, or will be without more of ours. */
  #over = false;
  /** Others may destroy the socket who don't know that it is taken. */
  #shared = true;

  /**
   * `onGone` is called when the socket is closed and no event of the addon's concerns it any more. `given`: the
   * application has given the socket away, rather than the server to whoever listens.
   *
   * @throws what the socket throws; the connection is ended then
   */
  constructor(native, socket, given, onGone) {
    this.#native = native;
    this.#socket = socket;
    this.#onGone = onGone;
    try {
      this.#seize(socket);
      this.#listen(socket);
      socket.resume();
      if (given) {
        process.nextTick(() => {
          this.#shared = false;
        });
      }
    } catch (error) {
      this.#fail();
      throw error;
    }
  }

  #listen(socket) {
    const native = this.#native;
    socket.setTimeout?.(0);
    socket.setNoDelay?.(true);
    socket.on('error', nothing);
    socket.on('data', (chunk) => {
      this.#guard(() => {
        if (!native.feed(toBytes(chunk))) socket.pause();
      });
    });
    socket.on('end', () => native.end());
    socket.on('close', () => {
      this.#over = true;
      native.abort();
      this.#onGone();
    });
  }

  /** Does what calls the socket, or is up to it. */
  #guard(work) {
    try {
      work();
    } catch {
      this.#fail();
    }
  }

  /** The socket has thrown, or gives something else than bytes. */
  #fail() {
    this.#over = true;
    this.#native.abort();
    try {
      this.#destroy?.();
    } catch {
      // It does not even let itself be destroyed.
    }
    this.#onGone();
  }

  #seize(socket) {
    this.#write = socket.write.bind(socket);
    this.#end = socket.end.bind(socket);
    this.#destroy = socket.destroy.bind(socket);
    socket.write = () => false;
    socket.end = () => socket;
    socket.destroySoon = nothing;
    socket.destroy = (error) => {
      // Servers that keep a list of their TCP sockets may destroy the one under a TLS socket.
      const isOwn = error || !this.#shared || isTransportDestroyed(socket);
      if (isOwn) this.#guard(() => this.#destroy(error));
      return socket;
    };
  }

  /** BRIDGE_READABLE: the addon has bytes for the socket. */
  readable() {
    if (!this.#over && !this.#writing) this.#guard(() => this.#forward());
  }

  #forward() {
    const bytes = this.#native.take();
    if (bytes === null) {
      if (this.#ending) this.#close();
      return;
    }
    this.#writing = true;
    this.#write(bytes, (error) => {
      this.#writing = false;
      if (error) {
        this.#native.abort();
      } else {
        this.#native.ack();
        this.readable();
      }
    });
  }

  /** BRIDGE_DRAIN: the addon takes bytes again. */
  drained() {
    this.#guard(() => this.#socket.resume());
  }

  /** BRIDGE_QUESTION: does the loop turn? After a whole turn, so that bytes which lay on the socket were fed before. */
  answer() {
    setImmediate(() => setImmediate(() => this.#native.answer()));
  }

  /**
   * BRIDGE_END: the connection is over, or the upgrade was `refused`. The addon's last bytes for the socket go out first,
   * unless `abort`.
   */
  finish(abort, refused = false) {
    if (this.#over || (this.#ending && !abort)) return;
    this.#guard(() => this.#finish(abort, refused ? REFUSED_MS : LINGER_MS));
  }

  #finish(abort, lingerMs) {
    if (abort) {
      this.#over = true;
      this.#destroy();
    } else {
      this.#ending = true;
      // A peer that reads nothing more must not hold the socket.
      const timer = setTimeout(() => this.#guard(() => this.#destroy()), lingerMs);
      timer.unref();
      this.#socket.on('close', () => clearTimeout(timer));
      this.readable();
    }
  }

  #close() {
    this.#over = true;
    // Bytes that the peer still sends are read and dropped, or the end of its stream would never be seen.
    this.#socket.resume();
    this.#end(() => this.#guard(() => this.#destroy()));
  }
}

module.exports = { Bridge };
