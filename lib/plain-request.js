'use strict';

const http = require('node:http');
const { EventEmitter } = require('node:events');
const { farewell } = require('./farewell');

const NOT_FOUND =
  'HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n';

/** What Node reads the requests of a connection with, on servers of all kinds. */
const [readRequests] = new http.Server().listeners('connection');

const nothing = () => {};

/** Answers an upgrade that is nobody's as the request that it is without its header `Upgrade`. */
function answerPlainly(server, req, socket, head) {
  if (server.listenerCount('request') === 0) {
    farewell(socket, NOT_FOUND);
  } else if (socket !== req.socket || req.readableLength > 0) {
    // Newer releases of Node read an upgrade's body themselves, and may have begun to.
    respond(server, req, socket);
  } else {
    readAnew(server, req, socket, head);
  }
}

/** Has the server's handler answer on `socket`, and ends it then. */
function respond(server, req, socket) {
  const res = new http.ServerResponse(req);
  res.shouldKeepAlive = false;
  res.assignSocket(socket);
  res.on('finish', () => {
    res.detachSocket(socket);
    socket.end(() => socket.destroy());
  });
  socket.on('error', nothing);
  server.emit('request', req, res);
}

/**
 * Gives the connection back to the server, which reads the request anew, body and all, and may get more of them. No
 * `connection` event tells of it: the application had one.
 */
function readAnew(server, req, socket, head) {
  let text = `${req.method} ${req.url} HTTP/${req.httpVersion}\r\n`;
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    text += `${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}\r\n`;
  }
  // Comes by itself, behind what is emitted here.
  if (head.length > 0) socket.unshift(head);
  readRequests.call(server, socket);
  const read = () => socket.emit('data', Buffer.from(`${text}\r\n`, 'latin1'));
  // Node begins a new count of the connection's requests: where that is limited, this is the last.
  withoutUpgrade(server, server.maxRequestsPerSocket > 0 ? () => asLast(server, read) : read);
}

/** Does `work`, and has the connection end with the answer to the request that is read by it. */
function asLast(server, work) {
  const end = (_req, res) => {
    res.shouldKeepAlive = false;
  };
  server.prependOnceListener('request', end);
  try {
    work();
  } finally {
    server.removeListener('request', end);
  }
}

/**
 * Does `work`, with "no" for an answer when Node asks whether the request that is read by it is an upgrade. By its release,
 * Node asks either of these functions of the server.
 */
function withoutUpgrade(server, work) {
  const name = 'shouldUpgradeCallback' in server ? 'shouldUpgradeCallback' : 'listenerCount';
  const own = Object.getOwnPropertyDescriptor(server, name);
  let isRestored = false;
  const restore = () => {
    if (isRestored) return;
    isRestored = true;
    if (own === undefined) delete server[name];
    else Object.defineProperty(server, name, own);
  };
  const answer = (event, ...rest) => {
    if (name === 'listenerCount' && event !== 'upgrade') {
      return EventEmitter.prototype.listenerCount.call(server, event, ...rest);
    }
    // The handler, and requests that follow at once, find the server as it was.
    restore();
    return 0;
  };
  Object.defineProperty(server, name, { value: answer, configurable: true, writable: true });
  try {
    work();
  } finally {
    restore();
  }
}

module.exports = { answerPlainly };
