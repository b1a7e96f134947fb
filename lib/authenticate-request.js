'use strict';

/** Whether somebody waits for an answer of `authenticate`. It has a signal from the time that someone looks at it: most never do. */
class Patience {
  #controller;
  /** Why nobody waits any more. */
  #reason;

  get signal() {
    this.#controller ??= new AbortController();
    if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  /** Nobody waits any more, for that reason. */
  end(reason) {
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

/** What `authenticate` is asked about. Kept by the application alone, for headers may be large. */
class AuthenticateRequest {
  #patience;

  constructor({ url, method, headers }, remoteAddress, patience) {
    this.url = url;
    this.method = method;
    this.headers = headers;
    this.remoteAddress = remoteAddress;
    this.#patience = patience;
  }

  get signal() {
    return this.#patience.signal;
  }
}

module.exports = { AuthenticateRequest, Patience };
