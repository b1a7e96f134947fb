'use strict';

const http = require('node:http');
const https = require('node:https');
const { meaningOf } = require('./catalogue');
const { failure, describe } = require('./error');
const { farewell } = require('./farewell');
const { serverOf } = require('./node-internals');
const { afterAnswers } = require('./pipeline');
const { listOf } = require('./raw-headers');

const STATUS = { ERR_HEADERS_TOO_LARGE: '431 Request Header Fields Too Large' };
/** Headers that Node keeps of a request, where `maxHeadersCount` of the server doesn't say otherwise. */
const MAX_HEADERS = 1000;

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
    `The first argument must be an http.Server or https.Server (of an Express app: what app.listen() returns), or null for none; got ${describe(server)}`,
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
 * True if an upgrade is one to WebSocket. Any other is a plain request, and so is one of HTTP/1.0 (RFC 9110 section 7.8).
 */
function isWebSocket(req) {
  if (req.httpVersion === '1.0') return false;
  return listOf(req.rawHeaders, 'upgrade').some((protocol) => protocol.toLowerCase() === 'websocket');
}

/**
 * True if Node may have dropped headers of a request, as its releases before 22.23 do without a word. One of them may have said
 * that there is a body, so nobody knows where the request ends.
 */
function isCutShort(req) {
  const max = Math.trunc(serverOf(req)?.maxHeadersCount ?? MAX_HEADERS);
  return max > 0 && req.rawHeaders.length >= 2 * max;
}

/** The meaning of an error code as the engine words its refusals: no sentence, but words behind a colon. */
function wordsOf(code) {
  const meaning = meaningOf(code);
  return meaning[0].toLowerCase() + meaning.slice(1, -1);
}

/**
 * Answers an upgrade that the addon could not take, through Node's socket. The details are for the `error`
 * event; the client is told what the code means, and so is the caller.
 */
function refuse(req, socket, error) {
  const code = meaningOf(error?.code) === undefined ? 'ERR_INTERNAL' : error.code;
  const message = wordsOf(code);
  const body = JSON.stringify({ code, message });
  const answer =
    `HTTP/1.1 ${STATUS[code] ?? '503 Service Unavailable'}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\nCache-Control: no-store\r\n\r\n`;
  // RFC 9110 section 9.3.2.
  const told = req.method === 'HEAD' ? answer : answer + body;
  afterAnswers(req, socket, () => {
    try {
      farewell(socket, told);
    } catch {
      // The socket itself is what doesn't work.
    }
  });
  return { code, message };
}

module.exports = { checkServer, isCutShort, isWebSocket, pathOf, refuse, withoutSlash };
