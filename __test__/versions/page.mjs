// A page as a README prints it, run without a browser: its script, and as much of a document as it asks for.
import { EventEmitter, once } from 'node:events';
import WebSocket from 'ws';

/** An element of the page. */
class Node {
  #text = '';
  children = [];

  constructor(page) {
    this.page = page;
  }

  get textContent() {
    return this.#text;
  }

  set textContent(text) {
    this.#text = text;
    this.page.emit('change');
  }

  append(child) {
    this.children.push(child);
    this.page.emit('change');
  }
}

/** A socket of a page: like a browser's it sends cookies, and says nothing but `close` when it could not connect. */
const socketOf = (page) =>
  class extends WebSocket {
    constructor(url, protocols = []) {
      super(url.replace('wss://example.com', `ws://${page.host}`), protocols, {
        headers: page.cookie === undefined ? {} : { Cookie: page.cookie },
      });
      this.on('error', () => {});
      page.sockets.push(this);
      this.on('open', () => page.emit('change'));
      this.on('close', (code) => {
        page.closed.push(code);
        page.emit('change');
      });
    }
  };

/** See the module. */
export class Page extends EventEmitter {
  #nodes = new Map();
  #timers = new Set();
  sockets = [];
  /** Close codes, in their order. */
  closed = [];
  /** All that the script logged. */
  logged = [];

  /** @param host where WebSockets to `example.com` and of the page's own host go */
  constructor({ host, cookie }) {
    super();
    Object.assign(this, { host, cookie });
  }

  /** Runs a script. `names` are what it has imported, and what the text around it in the README says is there. */
  run(script, names = {}) {
    const page = this;
    const scope = {
      document: {
        getElementById: (id) => this.node(id),
        createElement: () => new Node(this),
      },
      location: { host: this.host },
      WebSocket: socketOf(this),
      FormData: class extends Map {
        constructor({ fields }) {
          super(Object.entries(fields));
        }
      },
      console: {
        log(value) {
          page.logged.push(value);
          page.emit('change');
        },
      },
      setTimeout: (...args) => this.#timers.add(setTimeout(...args)),
      ...names,
    };
    const code = script.replace(/^\s*import .*$/gm, '');
    new Function(...Object.keys(scope), code)(...Object.values(scope));
  }

  node(id) {
    if (!this.#nodes.has(id)) this.#nodes.set(id, new Node(this));
    return this.#nodes.get(id);
  }

  /** Fills a form in and submits it. */
  submit(id, fields) {
    const target = Object.assign(this.node(id), { fields });
    target.onsubmit({ target, preventDefault() {} });
  }

  /** Resolves when `holds` does. */
  async until(holds) {
    while (!holds()) await once(this, 'change');
  }

  /** Leaves it. */
  close() {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of this.sockets) {
      socket.onclose = null;
      socket.terminate();
    }
  }
}
