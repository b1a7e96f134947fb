import { failure } from './error.mjs';
import { sizeOf } from './frame.mjs';

export class Queue {
  #most;
  #frames = [];
  #bytes = 0;

  constructor(most) {
    this.#most = most;
  }

  // `waiting`: bytes that the socket holds already.
  check(frame, waiting = 0) {
    if (waiting + this.#bytes + sizeOf(frame) > this.#most) {
      throw failure(
        'ERR_QUEUE_FULL',
        `More than ${this.#most} bytes would wait: nothing of this message was kept`,
      );
    }
  }

  push(frame) {
    this.check(frame);
    this.#frames.push(frame);
    this.#bytes += sizeOf(frame);
  }

  take() {
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    return frames;
  }
}
