'use strict';

const http = require('node:http');
const https = require('node:https');
const { meaningOf } = require('./catalogue');
const { failure, describe } = require('./error');
const { farewell } = require('./farewell');
const { afterAnswers } = require('./pipeline');

const NOT_FOUND =
  'HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n';

const nothing = () => {};

/** @throws {TypeError} `ERR_INVALID_SERVER` for what never emits 'upgrade' */
function checkServer(server) {
  const isServer =
    server instanceof http.Server ||
    server instanceof https.Server ||
    // HTTP/2 with `allowHTTP1`, and servers of other realms: by what they can do.
    (typeof server === 'object' &&
      server !== null &&
      ['on', 'emit', 'prependListener', 'removeListener', 'rawListeners', 'listen'].every(
        (name) => typeof server[name] === 'function',
      ) &&
      ('headersTimeout' in server || typeof server.updateSettings === 'function'));
  if (isServer) return;
  throw failure(
    TypeError,
    'ERR_INVALID_SERVER',
    `The first argument must be an http.Server or https.Server (of an Express app: what app.listen() returns); got ${describe(server)}`,
  );
}

/** A path without its trailing slash. */
function withoutSlash(path) {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** The path of a request target: no query, no origin (RFC 9112 allows the absolute form), no trailing slash. */
function pathOf(target) {
  const path = target.startsWith('/') ? target : target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  const end = path.search(/[?#]/);
  return withoutSlash(end < 0 ? path : path.slice(0, end));
}

/**
 * Answers an upgrade that nobody wants as the request that it would be without `upgrade` listeners. `unheard(work)` does
 * `work` while there are none.
 */
function passOn(server, req, socket, head, unheard) {
  if (server.listenerCount('request') === 0) {
    farewell(socket, NOT_FOUND);
  } else if (socket !== req.socket || req.readableLength > 0) {
    // Newer releases of Node read an upgrade's body themselves, and may have begun to.
    respond(server, req, socket);
  } else {
    unheard(() => readAnew(server, req, socket, head));
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
 * Gives the connection back to the server, which reads the request anew, body and all: without `upgrade` listeners it is no
 * upgrade for Node but a request, and the connection may carry more of them.
 */
function readAnew(server, req, socket, head) {
  let text = `${req.method} ${req.url} HTTP/${req.httpVersion}\r\n`;
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    text += `${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}\r\n`;
  }
  // The documented way to hand a connection to an HTTP server.
  server.emit(socket.encrypted ? 'secureConnection' : 'connection', socket);
  socket.emit('data', Buffer.concat([Buffer.from(`${text}\r\n`, 'latin1'), head]));
}

/** The meaning of an error code as the engine words its refusals: no sentence, but words behind a colon. */
function wordsOf(code) {
  const meaning = meaningOf(code);
  return meaning[0].toLowerCase() + meaning.slice(1, -1);
}

/**
 * Answers an upgrade that the addon could not take, through Node's socket. What went wrong in detail is for the `error`
 * event; the client is told what the code means.
 */
function refuse(req, socket, error) {
  const code = meaningOf(error?.code) === undefined ? 'ERR_INTERNAL' : error.code;
  const body = JSON.stringify({ code, message: wordsOf(code) });
  const answer =
    'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n' +
    `Content-Length: ${Buffer.byteLength(body)}\r\nCache-Control: no-store\r\n\r\n${body}`;
  afterAnswers(req, socket, () => {
    try {
      farewell(socket, answer);
    } catch {
      // The socket itself is what doesn't work.
    }
  });
}

module.exports = { checkServer, passOn, pathOf, refuse, withoutSlash };
