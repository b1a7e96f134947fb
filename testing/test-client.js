'use strict';

const { closedError, failure, invalidArg } = require('../lib/error');
const { WebSocketClient } = require('./client');
const { Inbox } = require('./inbox');
const { clearTimeout, setTimeout } = require('./real');
const { toTimeout } = require('./timeout');

const nothing = () => {};

/** A client that keeps what comes until a test takes it. Documented in index.d.ts. */
class TestClient extends WebSocketClient {
  #inbox = new Inbox();
  #timeoutMs;

  constructor(url, options, timeoutMs) {
    super(url, options);
    this.#timeoutMs = timeoutMs;
    this.on('message', (event) => this.#inbox.push(event));
    this.on('status', (status) => {
      if (status !== 'closed') this.#inbox.reopen();
    });
    this.on('error', (error) => {
      if (this.status === 'closed') this.#inbox.end(error);
    });
  }

  get messages() {
    return this.#inbox.messages;
  }

  next(predicate, options) {
    const taken =
      typeof predicate === 'object' && predicate !== null && options === undefined
        ? this.#take(undefined, predicate)
        : this.#take(predicate, options);
    // A test that failed before leaves it behind, and close() ends it.
    taken.catch(nothing);
    return taken;
  }

  async #take(predicate, options) {
    if (predicate !== undefined && typeof predicate !== 'function') {
      throw invalidArg('predicate', 'a function', predicate);
    }
    const timeoutMs = toTimeout(options?.timeoutMs ?? this.#timeoutMs, 'timeoutMs');
    return this.#inbox.take(predicate, timeoutMs);
  }

  close() {
    super.close();
    this.#inbox.end(closedError('client'));
  }
}

/**
 * Waits until a client is open. One that fails is closed: tests want to see that, not a client that tries again.
 *
 * @param {TestClient} client
 * @param {number} timeoutMs
 * @param {() => Promise<Error | undefined>} refusal - the manager's reason to refuse it
 */
async function opened(client, timeoutMs, refusal) {
  const offs = [];
  let timer;
  let failed;
  try {
    await new Promise((resolve, reject) => {
      offs.push(
        client.on('status', (status) => {
          if (status === 'open') resolve();
          // A reason, if there is one, comes next.
          else Promise.resolve().then(() => reject(failed));
        }),
        client.on('error', (error) => {
          failed = error;
        }),
      );
      timer = setTimeout(() => {
        failed = failure(Error, 'ERR_TIMEOUT', `The client is not open within ${timeoutMs} ms`);
        reject(failed);
      }, timeoutMs);
    });
  } catch {
    client.close();
    const isServers = failed === undefined || failed.code === 'ERR_CLOSED';
    throw (
      (isServers ? await refusal() : undefined) ??
      failed ??
      failure(Error, 'ERR_CLOSED', 'The connection ended before it was open')
    );
  } finally {
    clearTimeout(timer);
    for (const off of offs) off();
  }
}

module.exports = { TestClient, opened };
