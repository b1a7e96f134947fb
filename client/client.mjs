import { CoreClient } from './core.mjs';
import { failure } from './error.mjs';
import { INSIDE } from './inside.mjs';
import { Renewal } from './renewal.mjs';
import { Rooms } from './rooms.mjs';
import { roomOf, topicOf } from './topics.mjs';

const ANSWER_MS = 10_000;
const MOST_MS = 2 ** 31;

const nothing = () => {};
const closed = () => failure('ERR_CLOSED', 'The client is closed');

export class WebSocketClient extends CoreClient {
  #rooms;
  #renewal;
  #clockOffset = 0;

  constructor(url, options) {
    super(url, options);
    const inside = this[INSIDE];
    this.#rooms = new Rooms(inside);
    this.#renewal = new Renewal(inside);
    inside.returns = (topic) => this.#rooms.has(topic);
    inside.greeted = ({ now, expiresAt }, isOther) => {
      this.#clockOffset = now - Date.now();
      if (isOther) this.#rooms.clear(failure('ERR_USER_CHANGED', 'Another user'));
      this.#renewal.begin(expiresAt - now);
      this.#rooms.begin();
    };
    this.on('left', ({ room }) => this.#rooms.left(room));
    this.on('status', (status) => {
      if (status === 'open') return;
      this.#renewal.end();
      this.#rooms.end(status === 'closed' && closed());
    });
  }

  get clockOffset() {
    return this.#clockOffset;
  }

  get rooms() {
    return this[INSIDE].topics.names.map(roomOf).filter((room) => room !== undefined);
  }

  request(data, { timeoutMs = ANSWER_MS, signal } = {}) {
    if (!(timeoutMs > 0 && timeoutMs < MOST_MS)) {
      return Promise.reject(failure('ERR_INVALID_ARG', 'timeoutMs must be above 0 and below 2^31'));
    }
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { ask, outbox } = this[INSIDE];
    const { id, promise } = ask({ type: 'request', data });
    const abort = () => outbox.fail(id, signal.reason);
    const late = () => outbox.fail(id, failure('ERR_TIMEOUT', `No answer within ${timeoutMs} ms`));
    const timer = setTimeout(late, timeoutMs);
    signal?.addEventListener('abort', abort);
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    promise.then(end, end);
    return promise;
  }

  join(room) {
    const promise = this.#rooms.join(room, this.status === 'open');
    if (this.status === 'closed') this.#rooms.end(closed());
    return promise;
  }

  leave(room) {
    const promise = this.#leave(room, this.#rooms.forget(room, failure('ERR_LEFT', 'leave() was called')));
    promise.catch(nothing);
    return promise;
  }

  async #leave(room, asked) {
    await asked;
    const topic = topicOf(room);
    // It was joined again meanwhile.
    if (this.#rooms.has(topic)) return;
    if (this.status === 'open') await this[INSIDE].ask({ type: 'leave', room }).promise;
    else this[INSIDE].topics.forget(topic);
  }
}
