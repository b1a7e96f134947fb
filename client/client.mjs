import { CoreClient } from './core.mjs';
import { failure } from './error.mjs';
import { INSIDE } from './inside.mjs';
import { roomOf, topicOf } from './topics.mjs';

const ANSWER_MS = 10_000;
// The longest pause before it is asked again what the server could not find out.
const AGAIN_MS = 10_000;
const UNKNOWN = ['ERR_AUTH_FAILED', 'ERR_TOO_MANY_UNANSWERED'];

const nothing = () => {};

export class WebSocketClient extends CoreClient {
  // The rooms that the client joins by itself, and the promises of that.
  #rooms = new Map();

  constructor(url, options) {
    super(url, options);
    this.#inside.greeted = () => {
      for (const room of this.#rooms.keys()) this.#ask(room);
    };
    this.#inside.returns = (topic) => this.#rooms.has(roomOf(topic));
    this.on('left', ({ room }) => this.#rooms.delete(room));
    this.on('status', (status) => {
      if (status !== 'closed') return;
      for (const [room, { isIn }] of this.#rooms) if (!isIn) this.#giveUp(room, this.#closed());
    });
  }

  get rooms() {
    return this.#inside.topics.names.map(roomOf).filter((room) => room !== undefined);
  }

  request(data, { timeoutMs = ANSWER_MS, signal } = {}) {
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
    else if (this.status === 'open') this.#ask(room);
    return wish.promise;
  }

  leave(room) {
    this.#giveUp(room, failure('ERR_LEFT', 'leave() was called'));
    if (this.status === 'open') return this.#inside.ask({ type: 'leave', room }).promise;
    this.#inside.topics.forget(topicOf(room));
    return Promise.resolve();
  }

  async #ask(room) {
    const wish = this.#rooms.get(room);
    try {
      await this.#inside.ask({ type: 'join', room }).promise;
      wish.isIn = true;
      wish.resolve();
    } catch (error) {
      // The next connection asks again.
      if (this.#rooms.get(room) !== wish || error.code === 'ERR_UNCERTAIN' || error.code === 'ERR_CLOSED')
        return;
      if (wish.isIn && UNKNOWN.includes(error.code)) {
        const again = () => this.#rooms.get(room) === wish && this.status === 'open' && this.#ask(room);
        setTimeout(again, Math.random() * AGAIN_MS);
        return;
      }
      this.#giveUp(room, error);
      if (!wish.isIn) return;
      this.#inside.topics.forget(topicOf(room));
      this.#inside.fail(Object.assign(error, { room }));
    }
  }

  #giveUp(room, error) {
    const wish = this.#rooms.get(room);
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
