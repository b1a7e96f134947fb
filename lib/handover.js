'use strict';

const net = require('node:net');
const tls = require('node:tls');
const { Bridge } = require('./bridge');
const { toBytes } = require('./chunk');
const { failure, invalidArg, reasonOf } = require('./error');
const { isAnswerDue } = require('./pipeline');
const { Flag } = require('./constants');
const { descriptorOf, handleKindOf } = require('./node-internals');
const { registry } = require('./registry');
const { isCutShort } = require('./upgrade');

const nothing = () => {};

/** Address of who is at the other end, `unix:` on a Unix-domain socket; empty if there is none. */
function peerOf(socket) {
  if (typeof socket.remoteAddress === 'string') return socket.remoteAddress;
  return handleKindOf(socket) === 'Pipe' ? 'unix:' : '';
}

/** The descriptor that the addon can take, or -1 if the socket's bytes have to go over a bridge. */
function takeableDescriptorOf(socket) {
  if (!(socket instanceof net.Socket) || socket instanceof tls.TLSSocket) return -1;
  // Bytes that Node has yet to write would be lost, or come behind the 101.
  if (socket.writableLength > 0) return -1;
  if (!['TCP', 'Pipe'].includes(handleKindOf(socket))) return -1;
  return descriptorOf(socket);
}

/**
 * Node's parser lets no line break through, unless it was told to be lenient; but routers write `url` anew. One must not make two lines.
 */
const toLine = (text) => (text.includes('\n') ? text.replaceAll('\n', ' ') : text);

/** The request's head as the addon reads it: method, URL, version and the raw headers, a line each. */
function joinHead(req) {
  let head = `${toLine(req.method)}\n${toLine(req.url)}\n${toLine(req.httpVersion)}`;
  const { rawHeaders } = req;
  for (let i = 0; i < rawHeaders.length; i += 1) head += `\n${toLine(rawHeaders[i])}`;
  return head;
}

/** True if the connection is TLS. Newer releases of Node have a stream around the socket of an upgrade with a body. */
const isTls = (req, socket) => socket.encrypted === true || req.socket?.encrypted === true;

/**
 * The bytes that came with the upgrade, and those that the stream has read since; `null` if there are none.
 *
 * @throws {Error} `ERR_HANDOVER` for what are no bytes; the socket is ended then
 */
function firstBytes(socket, head) {
  const chunks = head === null || head === undefined || head.length === 0 ? [] : [head];
  try {
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(toBytes(chunk));
  } catch (thrown) {
    socket.on('error', nothing);
    socket.destroy();
    throw failure(Error, 'ERR_HANDOVER', `The socket can't be read: ${reasonOf(thrown)}`, thrown);
  }
  if (chunks.length === 0) return null;
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
}

/** @throws {TypeError} `ERR_INVALID_ARG` for what isn't a request, a stream and its first bytes */
function checkUpgrade(req, socket, head) {
  const isRequest =
    typeof req === 'object' &&
    req !== null &&
    typeof req.method === 'string' &&
    typeof req.url === 'string' &&
    typeof req.httpVersion === 'string' &&
    Array.isArray(req.rawHeaders) &&
    req.rawHeaders.every((text) => typeof text === 'string');
  if (!isRequest) throw invalidArg('req', 'the http.IncomingMessage of an upgrade', req);
  const isDuplex =
    typeof socket === 'object' &&
    socket !== null &&
    ['on', 'read', 'write', 'end', 'destroy', 'pause', 'resume'].every(
      (name) => typeof socket[name] === 'function',
    );
  if (!isDuplex) throw invalidArg('socket', 'the net.Socket or stream.Duplex of an upgrade', socket);
  if (head !== undefined && head !== null && !(head instanceof Uint8Array)) {
    throw invalidArg('head', 'a Buffer', head);
  }
}

/** Takes sockets from Node and gives them to the addon, in the tick in which it is asked to. */
class Handover {
  #native;
  #onBridge;
  #bridges = new Map();

  /** `onBridge` is told when a socket stays with Node. */
  constructor(native, onBridge) {
    this.#native = native;
    this.#onBridge = onBridge;
  }

  /**
   * Gives the socket away. Afterwards Node's object is destroyed, or serves as a bridge. `given`: see `Bridge`.
   *
   * @returns {{ticket: number, authenticate: boolean, remoteAddress: string}} the address is the client's
   * @throws {Error} `ERR_HANDOVER` or `ERR_CLOSED`: the socket is untouched, or, if it threw itself or gave something else than
   * bytes, ended
   */
  take(req, socket, head, flags, identity, given) {
    const { claimed } = registry();
    if (socket.destroyed || socket.writableEnded)
      throw failure(Error, 'ERR_HANDOVER', 'The socket is closed already, or to be closed');
    if (isAnswerDue(req, socket))
      throw failure(Error, 'ERR_HANDOVER', 'An earlier request on the connection is not answered yet');
    if (claimed.has(socket))
      throw failure(Error, 'ERR_HANDOVER', 'A WebSocketManager has taken the socket already');
    const peer = peerOf(socket);
    const first = firstBytes(socket, head);
    const descriptor = takeableDescriptorOf(socket);
    const all = flags | (isTls(req, socket) ? Flag.TLS : 0) | (isCutShort(req) ? Flag.CUT : 0);
    const taken = this.#native.upgrade(joinHead(req), first, descriptor, peer, all, identity);
    claimed.add(socket);
    if (taken.bridge) {
      this.#bridge(taken.bridge, socket, given);
    } else {
      // Closing Node's descriptor tells the peer nothing: the connection lives on in the addon's duplicate. Others that hold the
      // socket find it destroyed, and write to it in vain.
      socket.on('error', nothing);
      socket.destroy();
    }
    return taken;
  }

  /** Notes an upgrade that was refused through Node's socket. `told`: the code and the message that the client was told. */
  refused(req, socket, { code, message }) {
    this.#native.refused(joinHead(req), peerOf(socket), code, message);
  }

  #bridge(native, socket, given) {
    const { id } = native;
    try {
      this.#bridges.set(id, new Bridge(native, socket, given, () => this.#bridges.delete(id)));
    } catch (thrown) {
      throw failure(Error, 'ERR_HANDOVER', `The socket can't be bridged: ${reasonOf(thrown)}`, thrown);
    }
    this.#onBridge();
  }

  /** The engine is gone: sockets that it has not yet spoken of the end of are ended. */
  close() {
    for (const bridge of this.#bridges.values()) bridge.finish(false);
  }

  /** The bridge of that number, unless its socket is gone. */
  bridge(id) {
    return this.#bridges.get(id);
  }
}

module.exports = { Handover, checkUpgrade };
