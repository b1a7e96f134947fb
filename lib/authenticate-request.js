'use strict';

/** The request that `authenticate` is asked about. Only the application keeps it, for headers may be large. */
class AuthenticateRequest {
  #controller;

  /** @param {LazyAbortController} controller - aborted when nobody waits for the answer any more */
  constructor({ url, method, headers }, remoteAddress, controller) {
    this.url = url;
    this.method = method;
    this.headers = headers;
    this.remoteAddress = remoteAddress;
    this.#controller = controller;
  }

  get signal() {
    return this.#controller.signal;
  }
}

module.exports = { AuthenticateRequest };
