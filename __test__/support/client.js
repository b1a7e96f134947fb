'use strict';

const net = require('node:net');
const { once } = require('node:events');
const WebSocket = require('ws');
const { closeAfterwards } = require('./cleanup');

/** Messages as they come, whether someone waits for them yet or not. */
class Inbox {
  #waiting = [];
  #arrived = [];

  put(item) {
    const taker = this.#waiting.shift();
    if (taker) taker(item);
    else this.#arrived.push(item);
  }

  next() {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** A WebSocket client for tests. */
class Client {
  #inbox = new Inbox();

  constructor(url, { protocols, ...options } = {}) {
    this.socket = new WebSocket(url, protocols ?? [], { perMessageDeflate: false, ...options });
    this.socket.on('message', (data, isBinary) => this.#inbox.put(isBinary ? data : data.toString()));
    /** The close code and reason that the server said. */
    this.closed = once(this.socket, 'close').then(([code, reason]) => ({ code, reason: reason.toString() }));
    this.closed.catch(() => {});
    this.socket.on('error', () => {});
  }

  /** The next message: text as a string, binary as a Buffer. */
  next() {
    return this.#inbox.next();
  }

  /** The next message, parsed. */
  async nextJson() {
    return JSON.parse(await this.next());
  }

  send(data) {
    this.socket.send(data);
  }

  close(code, reason) {
    this.socket.close(code, reason);
    return this.closed;
  }

  /** Resolves when the server has read all that was sent so far. */
  async ping() {
    this.socket.ping();
    await once(this.socket, 'pong');
  }
}

/** An open client. */
async function connect(url, options) {
  const client = new Client(url, options);
  await once(client.socket, 'open');
  return client;
}

/** The answer to a handshake that is refused. */
async function refused(url, options) {
  const { socket } = new Client(url, options);
  const [, response] = await once(socket, 'unexpected-response');
  const chunks = await response.toArray();
  socket.terminate();
  const text = Buffer.concat(chunks).toString();
  const isJson = response.headers['content-type']?.startsWith('application/json');
  return { status: response.statusCode, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/** The text of an upgrade request. */
function upgradeRequest(path = '/api/websocket', headers = {}) {
  const all = {
    Host: '127.0.0.1',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': KEY,
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return `GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}

/** A masked frame of a client. */
function frame(data, { opcode = 1, fin = true } = {}) {
  const parts = WebSocket.Sender.frame(Buffer.from(data), {
    fin,
    opcode,
    mask: true,
    readOnly: false,
    rsv1: false,
  });
  return Buffer.concat(parts);
}

/** A bare connection that gathers what the server says; `socket` in place of a TCP connection to the target. */
class RawClient {
  #text = '';
  #changed = () => {};

  constructor(target, socket = net.connect(target)) {
    this.socket = socket;
    closeAfterwards(() => this.socket.destroy());
    this.socket.setEncoding('latin1');
    this.socket.on('data', (chunk) => {
      this.#text += chunk;
      this.#changed();
    });
    /** All that the server said, once it has ended the connection. */
    this.ended = new Promise((resolve) => {
      this.socket.on('close', () => resolve(this.#text));
    });
    this.socket.on('error', () => {});
  }

  write(...parts) {
    this.socket.write(Buffer.concat(parts.map((part) => Buffer.from(part))));
  }

  /** Resolves with all that was said so far, once it contains `text`. */
  async said(text) {
    while (!this.#text.includes(text)) {
      await new Promise((resolve, reject) => {
        this.#changed = resolve;
        this.ended.then((all) => reject(new Error(`ended after ${JSON.stringify(all)}`)));
      });
    }
    return this.#text;
  }
}

module.exports = { Inbox, Client, RawClient, connect, refused, upgradeRequest, frame };
