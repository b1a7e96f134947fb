import { CoreClient } from './core.mjs';
import { failure } from './error.mjs';
import { INSIDE } from './inside.mjs';
import { roomOf, topicOf } from './topics.mjs';

const ANSWER_MS = 10_000;
// The longest pause before it is asked again what the server could not find out.
const AGAIN_MS = 10_000;
// It is renewed in the last quarter of its time, not all clients' at once.
const RENEW_AT = 0.75;
const RENEW_SPREAD = 0.15;
// A token that is renewed by itself, or lives for a moment, is renewed by the next connection.
const LEAST_MS = 100;
const MOST_MS = 2 ** 31;
// Messages wait no longer for the rooms that are joined again.
const HOLD_MS = 5_000;
const UNKNOWN = ['ERR_AUTH_FAILED', 'ERR_TOO_MANY_UNANSWERED'];

const nothing = () => {};

export class WebSocketClient extends CoreClient {
  // The rooms that the client joins by itself, and the promises of that.
  #rooms = new Map();
  #renewal;
  #clockOffset = 0;
  #known;

  constructor(url, options) {
    super(url, options);
    this.#inside.greeted = (hello) => this.#greet(hello);
    this.#inside.returns = (topic) => this.#rooms.has(roomOf(topic));
    this.on('left', ({ room }) => {
      if (this.#rooms.get(room)?.isIn) this.#rooms.delete(room);
    });
    this.on('status', (status) => {
      if (status === 'open') return;
      clearTimeout(this.#renewal);
      for (const [room, wish] of this.#rooms) {
        clearTimeout(wish.again);
        if (status === 'closed' && !wish.isIn) this.#giveUp(room, this.#closed());
      }
    });
  }

  get clockOffset() {
    return this.#clockOffset;
  }

  get rooms() {
    return this.#inside.topics.names.map(roomOf).filter((room) => room !== undefined);
  }

  request(data, { timeoutMs = ANSWER_MS, signal } = {}) {
    if (!(timeoutMs > 0 && timeoutMs < MOST_MS)) {
      return Promise.reject(failure('ERR_INVALID_ARG', 'timeoutMs must be above 0 and below 2^31'));
    }
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { id, promise } = this.#inside.ask({ type: 'request', data });
    const giveUp = (error) => this.#inside.outbox.fail(id, error);
    const abort = () => giveUp(signal.reason);
    const timer = setTimeout(
      () => giveUp(failure('ERR_TIMEOUT', `No answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    signal?.addEventListener('abort', abort);
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    promise.then(end, end);
    return promise;
  }

  join(room) {
    const known = this.#rooms.get(room);
    if (known) return known.promise;
    const wish = { isIn: false };
    wish.promise = new Promise((resolve, reject) => Object.assign(wish, { resolve, reject }));
    wish.promise.catch(nothing);
    this.#rooms.set(room, wish);
    if (this.status === 'closed') this.#giveUp(room, this.#closed());
    else if (this.status === 'open') this.#wish(room);
    return wish.promise;
  }

  leave(room) {
    const asked = this.#rooms.get(room)?.asked;
    this.#giveUp(room, failure('ERR_LEFT', 'leave() was called'));
    const promise = this.#leave(room, asked);
    promise.catch(nothing);
    return promise;
  }

  // The server may deal with a `leave` before a `join` that it still thinks about.
  async #leave(room, asked) {
    await asked;
    if (this.#rooms.has(room)) return;
    if (this.status === 'open') await this.#inside.ask({ type: 'leave', room }).promise;
    else this.#inside.topics.forget(topicOf(room));
  }

  #greet({ now, expiresAt, userId, anonymous }) {
    this.#clockOffset = now - Date.now();
    // Somebody else did not wish to be there.
    if (this.#known !== undefined && this.#known !== userId && !anonymous) {
      for (const room of this.#rooms.keys()) this.#giveUp(room, failure('ERR_USER_CHANGED', 'Another user'));
    }
    this.#known = userId;
    this.#renewIn(expiresAt - now);
    const { outbox } = this.#inside;
    const asked = [...this.#rooms.keys()].map((room) => this.#wish(room));
    outbox.held = asked.length > 0 && asked;
    // What is sent may be for the rooms.
    const release = () => {
      clearTimeout(timer);
      if (outbox.held !== asked) return;
      outbox.held = false;
      outbox.flush();
    };
    const timer = setTimeout(release, asked.length > 0 ? HOLD_MS : 0);
    Promise.all(asked).then(release);
  }

  // Milliseconds that the token is still good for; not a number: for ever.
  #renewIn(ms) {
    clearTimeout(this.#renewal);
    const pause = ms * (RENEW_AT + Math.random() * RENEW_SPREAD);
    if (typeof this.#inside.options.token !== 'function' || !(pause > LEAST_MS && pause < MOST_MS)) return;
    this.#renewal = setTimeout(() => this.#renew(), pause);
  }

  // A renewal that fails leaves it at the end of the token: the server closes then, and the next connection has another one.
  async #renew() {
    const timer = this.#renewal;
    try {
      const token = await this.#inside.options.token();
      // The connection has ended meanwhile.
      if (timer !== this.#renewal || this.status !== 'open') return;
      const askedAt = Date.now() + this.clockOffset;
      const { expiresAt } = await this.#inside.ask({ type: 'renew', token }).promise;
      if (timer === this.#renewal && this.status === 'open') this.#renewIn(expiresAt - askedAt);
    } catch (cause) {
      if (timer !== this.#renewal || this.status !== 'open') return;
      this.#inside.listeners.emit('error', failure('ERR_TOKEN', 'The token could not be renewed', { cause }));
    }
  }

  #wish(room) {
    const wish = this.#rooms.get(room);
    clearTimeout(wish.again);
    wish.asked = this.#ask(room, wish);
    return wish.asked;
  }

  async #ask(room, wish) {
    try {
      await this.#inside.ask({ type: 'join', room }).promise;
      wish.isIn = true;
      wish.resolve();
    } catch (error) {
      // The next connection asks again.
      if (this.#rooms.get(room) !== wish || error.code === 'ERR_UNCERTAIN' || error.code === 'ERR_CLOSED')
        return;
      if (wish.isIn && UNKNOWN.includes(error.code)) {
        wish.again = setTimeout(() => this.#wish(room), Math.random() * AGAIN_MS);
        return;
      }
      this.#giveUp(room, error);
      if (!wish.isIn) return;
      this.#inside.topics.forget(topicOf(room));
      this.#inside.listeners.emit('error', Object.assign(error, { room }));
    }
  }

  #giveUp(room, error) {
    const wish = this.#rooms.get(room);
    clearTimeout(wish?.again);
    this.#rooms.delete(room);
    wish?.reject(error);
  }

  get #inside() {
    return this[INSIDE];
  }

  #closed() {
    return failure('ERR_CLOSED', 'The client is closed');
  }
}
