import { roomOf, topicOf } from './topics.mjs';

// The longest pause before it is asked again what the server could not find out.
const AGAIN_MS = 10_000;
const UNKNOWN = ['ERR_AUTH_FAILED', 'ERR_TOO_MANY_UNANSWERED'];
// The connection has ended: the next one asks again.
const ENDED = ['ERR_UNCERTAIN', 'ERR_CLOSED'];
// Messages wait no longer for the rooms that are joined again.
const HOLD_MS = 5_000;

const nothing = () => {};

// The rooms that the client joins by itself.
export class Rooms {
  // By name: `promise`, `resolve` and `reject` of the wish, `isIn` once it was fulfilled, `asked` settles with the server's answer.
  #wishes = new Map();
  #inside;

  constructor(inside) {
    this.#inside = inside;
  }

  has(topic) {
    return this.#wishes.has(roomOf(topic));
  }

  join(room, isOpen) {
    const known = this.#wishes.get(room);
    if (known) return known.promise;
    const wish = { isIn: false };
    wish.promise = new Promise((resolve, reject) => Object.assign(wish, { resolve, reject }));
    wish.promise.catch(nothing);
    this.#wishes.set(room, wish);
    if (isOpen) this.#ask(room, wish);
    return wish.promise;
  }

  // Answers what has to be awaited before the room can be left: the server may deal with a `leave` before a `join` that it still thinks
  // about.
  forget(room, error) {
    const wish = this.#wishes.get(room);
    clearTimeout(wish?.again);
    this.#wishes.delete(room);
    wish?.reject(error);
    return wish?.asked;
  }

  // The server has taken the client out of it.
  left(room) {
    if (this.#wishes.get(room)?.isIn) this.#wishes.delete(room);
  }

  // A connection is open: the client joins again. Messages may be for the rooms, and wait for them.
  begin() {
    const { outbox } = this.#inside;
    const asked = [...this.#wishes].map(([room, wish]) => this.#ask(room, wish));
    if (asked.length === 0) {
      outbox.held = undefined;
      return;
    }
    outbox.held = asked;
    const release = () => {
      clearTimeout(timer);
      if (outbox.held !== asked) return;
      outbox.held = undefined;
      outbox.flush();
    };
    const timer = setTimeout(release, HOLD_MS);
    Promise.all(asked).then(release);
  }

  // The connection has ended; with `error` for good.
  end(error) {
    for (const [room, wish] of this.#wishes) {
      clearTimeout(wish.again);
      if (error && !wish.isIn) this.forget(room, error);
    }
  }

  // Somebody else did not wish to be in them.
  clear(error) {
    for (const room of this.#wishes.keys()) this.forget(room, error);
  }

  #ask(room, wish) {
    clearTimeout(wish.again);
    wish.asked = this.#settle(room, wish);
    return wish.asked;
  }

  async #settle(room, wish) {
    try {
      await this.#inside.ask({ type: 'join', room }).promise;
      wish.isIn = true;
      wish.resolve();
    } catch (error) {
      if (this.#wishes.get(room) !== wish || ENDED.includes(error.code)) return;
      if (wish.isIn && UNKNOWN.includes(error.code)) {
        wish.again = setTimeout(() => this.#ask(room, wish), Math.random() * AGAIN_MS);
        return;
      }
      this.forget(room, error);
      if (!wish.isIn) return;
      this.#inside.topics.forget(topicOf(room));
      this.#inside.listeners.emit('error', Object.assign(error, { room }));
    }
  }
}
