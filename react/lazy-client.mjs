import { WebSocketClient } from '../client/index.mjs';
import { failure } from './error.mjs';

// For the provider alone.
export const COMMIT = Symbol('commit');
export const MOUNT = Symbol('mount');

// A client that is there from the first render on, and connects from the first effect or call on: a render may be on a server, or
// thrown away.
export class LazyClient {
  #url;
  #options;
  #client;
  #entries = new Set();
  #isCommitted = false;
  #mounts = 0;
  // Closed because nothing is mounted.
  #isAway = false;

  constructor(url, options) {
    this.#url = url;
    this.#options = options;
  }

  get status() {
    return this.#client?.status ?? 'connecting';
  }

  get userId() {
    return this.#client?.userId;
  }

  get rooms() {
    return this.#client?.rooms ?? [];
  }

  get clockOffset() {
    return this.#client?.clockOffset ?? 0;
  }

  on(name, listener) {
    const entry = { name, listener, off: this.#client?.on(name, listener) };
    this.#entries.add(entry);
    return () => {
      this.#entries.delete(entry);
      entry.off?.();
    };
  }

  send(data) {
    return this.#made().send(data);
  }

  request(data, options) {
    return this.#made().request(data, options);
  }

  join(room) {
    return this.#made().join(room);
  }

  leave(room) {
    return this.#made().leave(room);
  }

  close() {
    this.#made().close();
  }

  reconnect() {
    const client = this.#made();
    // Nobody would close it again.
    if (!this.#isAway) client.reconnect();
  }

  // From the commit that shows the provider until it is unmounted, also while it is hidden.
  [COMMIT]() {
    this.#isCommitted = true;
    return () => {
      this.#isCommitted = false;
      this.#rest();
    };
  }

  // While the provider is shown.
  [MOUNT]() {
    this.#made();
    this.#mounts += 1;
    return () => {
      this.#mounts -= 1;
      this.#rest();
    };
  }

  #rest() {
    // StrictMode and fast refresh end effects and run them again at once: the connection has no part in that.
    queueMicrotask(() => {
      if (this.#mounts > 0 || this.status === 'closed') return;
      this.#isAway = true;
      this.#client?.close();
    });
  }

  #made() {
    // Effects of components run before their provider's, also when both are shown again.
    if (this.#isAway && this.#isCommitted) {
      this.#isAway = false;
      this.#client?.reconnect();
    }
    if (this.#client) return this.#client;
    if (!this.#isCommitted) {
      throw failure('ERR_NOT_MOUNTED', 'Use the client in effects and event handlers, not while rendering');
    }
    const client = new WebSocketClient(this.#url, this.#options);
    this.#client = client;
    for (const entry of this.#entries) {
      entry.off = client.on(entry.name, entry.listener);
      // It had its first status before it had listeners.
      if (entry.name === 'status' && client.status !== 'connecting') {
        queueMicrotask(() => this.#entries.has(entry) && entry.listener(client.status));
      }
    }
    return client;
  }
}
