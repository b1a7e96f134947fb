'use strict';

let abort;

/** What `authenticate` is asked about. It has a signal from the time that someone looks at it: most never do. */
class AuthenticateRequest {
  #controller;
  /** Why nobody waits for the answer any more. */
  #reason;

  constructor({ url, method, headers }, remoteAddress) {
    this.url = url;
    this.method = method;
    this.headers = headers;
    this.remoteAddress = remoteAddress;
  }

  get signal() {
    this.#controller ??= new AbortController();
    if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  static {
    abort = (request, reason) => {
      request.#reason = reason;
      request.#controller?.abort(reason);
    };
  }
}

module.exports = {
  AuthenticateRequest,
  /** Nobody waits for the answer any more, for that reason. */
  abortRequest: (request, reason) => abort(request, reason),
};
