import { failure } from './error.mjs';
import { encode, sizeOf } from './frame.mjs';

// As many as the server keeps answers for.
const MOST_UNANSWERED = 256;

const nothing = () => {};
const uncertain = () => failure('ERR_UNCERTAIN', 'It may have been taken');

// Messages to the server that have no answer yet. `write(frame)` is there while the connection is open. While `held` is set no `send` is
// written.
export class Outbox {
  #most;
  #entries = new Map();
  #unanswered = 0;
  #bytes = 0;
  #last = 0;
  #write;
  held;

  constructor(most) {
    this.#most = most;
  }

  add(message, mayFill) {
    const id = String(++this.#last);
    const { type } = message;
    const frame = encode({ ...message, id });
    const size = sizeOf(frame);
    if ('data' in message && this.#bytes + size > this.#most && !(mayFill && this.#bytes === 0)) {
      throw failure('ERR_QUEUE_FULL', `More than ${this.#most} bytes wait`);
    }
    this.#bytes += size;
    const promise = new Promise((resolve, reject) => {
      this.#entries.set(id, { type, frame, size, resolve, reject, written: false });
    });
    // Nobody has to wait for an answer.
    promise.catch(nothing);
    this.flush();
    return { id, promise };
  }

  open(write) {
    this.#write = write;
    this.flush();
  }

  // The connection ended. A `send` goes again to the next one. A `request` that was written may have been served; all else concerns
  // this connection alone.
  cut() {
    this.#write = undefined;
    for (const [id, entry] of this.#entries) {
      if (entry.type !== 'send' && (entry.written || entry.type !== 'request')) this.fail(id, uncertain());
      entry.written = false;
    }
    this.#unanswered = 0;
  }

  // The answer with this `id` came.
  settle({ type, id, code, message, text, data = text }) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#forget(id);
    if (type === 'error') entry.reject(failure(code, message));
    else entry.resolve(data);
    this.flush();
  }

  // Its caller waits no longer.
  fail(id, error) {
    this.#entries.get(id)?.reject(error);
    this.#forget(id);
  }

  clear(error) {
    for (const [id, { written }] of this.#entries) this.fail(id, written ? uncertain() : error);
  }

  #forget(id) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#bytes -= entry.size;
    if (entry.written) this.#unanswered -= 1;
    this.#entries.delete(id);
  }

  flush() {
    for (const entry of this.#entries.values()) {
      if (!this.#write || this.#unanswered >= MOST_UNANSWERED) return;
      if (entry.written || (this.held && entry.type === 'send')) continue;
      if (!this.#write(entry.frame)) return;
      entry.written = true;
      this.#unanswered += 1;
    }
  }
}
