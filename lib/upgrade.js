'use strict';

const http = require('node:http');
const https = require('node:https');
const { meaningOf } = require('./catalogue');
const { failure, describe } = require('./error');
const { afterAnswers, isAnswerDue } = require('./pipeline');
const { registry } = require('./registry');

const NOT_FOUND = 'HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

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

/** @throws {RangeError} `ERR_OPTION_OUT_OF_RANGE` if another manager takes the upgrades of that path */
function checkPathIsFree(server, path) {
  const wanted = withoutSlash(path);
  for (const other of registry().listeners.get(server)?.values() ?? []) {
    if (withoutSlash(other.path) !== wanted) continue;
    throw failure(
      RangeError,
      'ERR_OPTION_OUT_OF_RANGE',
      `"path" must be one that no other manager of the server has; the WebSocketManager ${JSON.stringify(other.name)} has ${describe(other.path)}`,
    );
  }
}

/**
 * Listens to a server's upgrades. One of the manager's path goes to `take`; any other is left alone, or, if nobody but
 * managers listens and none of them wants it, goes back to the server as the plain request it would be without them.
 *
 * @param {import('node:http').Server} server
 * @param {{name: string, path: string}} manager
 * @param {(req: object, socket: object, head: Buffer) => void} take
 * @returns {() => void} stops listening
 */
function listen(server, { name, path }, take) {
  const { listeners, claimed } = registry();
  const wanted = withoutSlash(path);
  let ours = listeners.get(server);
  if (ours === undefined) {
    ours = new Map();
    listeners.set(server, ours);
  }

  function onUpgrade(req, socket, head) {
    // Taken by another manager, or by `handleUpgrade`; or ended by a listener before us.
    if (claimed.has(socket) || socket.destroyed) return;
    if (pathOf(req.url) === wanted) {
      // No mistake of the application's, so `take`, which would tell of it, isn't asked.
      if (isAnswerDue(req, socket)) refuse(req, socket, { code: 'ERR_HANDOVER' });
      else take(req, socket, head);
      // Also where it failed: it was answered, and is nobody else's.
      claimed.add(socket);
    } else if (isLastOfOnlyOurs(server, ours, onUpgrade)) {
      afterAnswers(req, socket, () => passOn(server, ours, req, socket, head));
    }
  }

  server.prependListener('upgrade', onUpgrade);
  ours.set(onUpgrade, { name, path });
  return () => {
    ours.delete(onUpgrade);
    server.removeListener('upgrade', onUpgrade);
  };
}

function isLastOfOnlyOurs(server, ours, listener) {
  const all = server.rawListeners('upgrade');
  return all.at(-1) === listener && all.every((each) => ours.has(each));
}

/** Answers an upgrade that nobody wants as the request that it would be without `upgrade` listeners. */
function passOn(server, ours, req, socket, head) {
  if (server.listenerCount('request') === 0) {
    socket.on('error', nothing);
    socket.end(NOT_FOUND, () => socket.destroy());
  } else if (socket !== req.socket || req.readableLength > 0) {
    // Newer releases of Node read an upgrade's body themselves, and may have begun to.
    respond(server, req, socket);
  } else {
    readAnew(server, ours, req, socket, head);
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
 * Gives the connection back to the server, which reads the request anew, body and all, while no manager listens: then
 * it is no upgrade for Node but a request, and the connection may carry more of them.
 */
function readAnew(server, ours, req, socket, head) {
  let text = `${req.method} ${req.url} HTTP/${req.httpVersion}\r\n`;
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    text += `${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}\r\n`;
  }
  const bytes = Buffer.concat([Buffer.from(`${text}\r\n`, 'latin1'), head]);

  const away = server.rawListeners('upgrade');
  for (const listener of away) server.removeListener('upgrade', listener);
  try {
    // The documented way to hand a connection to an HTTP server.
    server.emit(socket.encrypted ? 'secureConnection' : 'connection', socket);
    socket.emit('data', bytes);
  } finally {
    for (const listener of away.reverse()) {
      // One whose manager was closed by the request's handler stays away.
      if (ours.has(listener)) server.prependListener('upgrade', listener);
    }
  }
}

/**
 * Answers an upgrade that the addon could not take, through Node's socket. What went wrong in detail is for the `error`
 * event; the client is told what the code means.
 */
function refuse(req, socket, error) {
  const code = meaningOf(error?.code) === undefined ? 'ERR_INTERNAL' : error.code;
  const body = JSON.stringify({ code, message: meaningOf(code) });
  const answer =
    'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n' +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  afterAnswers(req, socket, () => {
    try {
      socket.on('error', nothing);
      socket.end(answer, () => socket.destroy());
    } catch {
      // The socket itself is what doesn't work.
    }
  });
}

module.exports = { checkPathIsFree, checkServer, listen, refuse };
