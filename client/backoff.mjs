// Full jitter: clients that lost one server come back spread over the whole pause.
export class Backoff {
  #minMs;
  #maxMs;
  #random;
  #failures = 0;

  constructor(minMs, maxMs, random = Math.random) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  next() {
    return this.#random() * Math.min(this.#maxMs, this.#minMs * 2 ** this.#failures++);
  }

  reset() {
    this.#failures = 0;
  }
}
