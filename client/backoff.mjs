// Full jitter: clients that lost one server come back spread over the whole pause.
export class Backoff {
  #failures = 0;

  constructor({ minMs, maxMs }, random = Math.random) {
    this.next = () => random() * Math.min(maxMs, minMs * 2 ** this.#failures++);
  }

  reset() {
    this.#failures = 0;
  }
}
