'use strict';

const { farewell } = require('./farewell');
const { lastAnswerOn, readRequests, setKeepsAlive, withoutUpgrade } = require('./node-internals');

const NOT_FOUND =
  'HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n';

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
  const res = lastAnswerOn(socket, req);
  res.on('finish', () => socket.end(() => socket.destroy()));
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
  const give = readRequests(server, socket);
  const read = () => give(Buffer.from(`${text}\r\n`, 'latin1'));
  // Node begins a new count of the connection's requests: where that is limited, this is the last.
  withoutUpgrade(server, server.maxRequestsPerSocket > 0 ? () => asLast(server, read) : read);
}

/** Does `work`, and has the connection end with the answer to the request that is read by it. */
function asLast(server, work) {
  const end = (_req, res) => setKeepsAlive(res, false);
  server.prependOnceListener('request', end);
  try {
    work();
  } finally {
    server.removeListener('request', end);
  }
}

module.exports = { answerPlainly };
