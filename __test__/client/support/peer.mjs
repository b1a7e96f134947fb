import { once } from 'node:events';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { Inbox } from './inbox.mjs';

const HELLO = {
  type: 'hello',
  userId: '42',
  connectionId: 'c',
  session: 's-1',
  now: 0,
  heartbeatMs: 0,
  topics: [],
};

/** A server's end of a connection, which says what the test has it say. */
export class PeerConnection {
  received = new Inbox();

  constructor(socket, request) {
    this.socket = socket;
    this.offered = request.headers['sec-websocket-protocol'].split(/, */);
    this.closed = once(socket, 'close');
    socket.on('message', (data, isBinary) => this.received.push(isBinary ? data : JSON.parse(data)));
  }

  send(message) {
    this.socket.send(
      typeof message === 'object' && !ArrayBuffer.isView(message) ? JSON.stringify(message) : message,
    );
    return this;
  }

  hello(...topics) {
    return this.send({ ...HELLO, topics });
  }

  next() {
    return this.received.next();
  }
}

/** A server on loopback that leaves all to the test. */
export class Peer {
  connections = new Inbox();
  #http = createServer();
  #sockets = new Set();

  /** `choose` picks the subprotocol. A status refuses so many handshakes. */
  constructor({ choose = () => 'actory.v1', refuse = [] } = {}) {
    const server = new WebSocketServer({ noServer: true, handleProtocols: (offered) => choose(offered) });
    this.#http.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    });
    this.#http.on('upgrade', (request, socket, head) => {
      const status = refuse.shift();
      if (status)
        return socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      server.handleUpgrade(request, socket, head, (ws) => {
        ws.on('error', () => {});
        this.connections.push(new PeerConnection(ws, request));
      });
    });
  }

  async listen() {
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    this.port = this.#http.address().port;
    this.url = `ws://127.0.0.1:${this.port}/`;
    return this;
  }

  next() {
    return this.connections.next();
  }

  async close() {
    for (const socket of this.#sockets) socket.destroy();
    this.#http.close();
    await once(this.#http, 'close');
  }
}
