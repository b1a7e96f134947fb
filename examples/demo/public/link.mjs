import { closeAdvice } from './actory.mjs';
import { onThisServer } from './session.mjs';

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

/**
 * A WebSocket that stays: it reconnects after a growing, random pause where the close code says that this makes
 * sense, with a fresh token where the old one may be why.
 *
 * Events: `state` (detail: { state, code?, pauseMs? }), `server` (a message of the server), `peer` (of a client).
 */
export class Link extends EventTarget {
  #signIn;
  #token = null;
  #socket = null;
  #timer = 0;
  #failures = 0;

  /** `signIn()` answers with a promise of a fresh token. */
  constructor(signIn) {
    super();
    this.#signIn = signIn;
  }

  async open() {
    clearTimeout(this.#timer);
    this.#tell('state', { state: 'connecting' });
    let socket;
    try {
      this.#token ??= await this.#signIn();
      const url = onThisServer('/api/websocket');
      url.protocol = url.protocol.replace('http', 'ws');
      // Browsers can't set headers on a WebSocket: the token goes where subprotocols go.
      socket = new WebSocket(url, ['bearer', this.#token]);
    } catch {
      this.#retry(1006);
      return;
    }
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    let opened = false;
    socket.onopen = () => {
      opened = true;
    };
    socket.onmessage = ({ data }) => {
      const fromServer = typeof data !== 'string';
      const message = read(fromServer ? new TextDecoder().decode(data) : data);
      if (message === null || socket !== this.#socket) return;
      if (fromServer && message.type === 'welcome') {
        this.#failures = 0;
        this.#tell('state', { state: 'open' });
      }
      this.#tell(fromServer ? 'server' : 'peer', message);
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      const advice = closeAdvice(code, opened);
      if (advice === 'refresh') this.#token = null;
      if (advice === 'stop') this.#tell('state', { state: 'closed', code });
      else this.#retry(code);
    };
  }

  #retry(code) {
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures);
    // Random, so that all the clients of a server that restarts don't come back in one wave.
    const pauseMs = Math.round(most * (0.5 + Math.random() / 2));
    this.#failures += 1;
    this.#timer = setTimeout(() => this.open(), pauseMs);
    this.#tell('state', { state: 'waiting', code, pauseMs });
  }

  /** True if it went out. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  close() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#token = null;
    this.#failures = 0;
    socket?.close(1000);
    this.#tell('state', { state: 'closed', code: 1000 });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** An object, or null: what a client sends is not to be trusted. */
function read(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
