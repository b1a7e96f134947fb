'use strict';

/** An AbortController whose signal is made when someone looks at it: most never do. */
class LazyAbortController {
  #controller;
  #reason;

  get signal() {
    this.#controller ??= new AbortController();
    if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  /** @param {Error} reason */
  abort(reason) {
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

module.exports = { LazyAbortController };
