'use strict';

const { AuthenticateRequest } = require('./authenticate-request');
const { currentContext } = require('./context');
const { closedError, failure, failureOf, reasonOf } = require('./error');
const { toIdentity } = require('./identity');
const { LazyAbortController } = require('./lazy-abort-controller');
const { Flag } = require('./constants');
const { listOf } = require('./raw-headers');
const { refusalOf } = require('./upgrade-refusal');

const offeredIn = (req) => listOf(req.rawHeaders, 'sec-websocket-protocol');

/**
 * Upgrades under way whose outcome JavaScript has to know: those that it authenticates, and those that it was asked
 * for by `handleUpgrade`. The addon reports each exactly once, by its ticket, which is also the number of the connection
 * that comes of it.
 */
class Handshakes {
  #native;
  #handover;
  #auth;
  #onError;
  /**
   * ticket -> { data, controller, refusal, context, resolve, reject }; the controller of the request's signal while the application is
   * asked, its refusal once it gave one, the functions only where someone waits.
   */
  #pending = new Map();

  /** `auth` is the option of that name if it has `authenticate`; `onError` is told what went wrong in it. */
  constructor(native, handover, auth, onError) {
    this.#native = native;
    this.#handover = handover;
    this.#auth = auth;
    this.#onError = onError;
  }

  /** Takes the socket of an upgrade that nobody waits for. */
  begin(req, socket, head) {
    this.#take(req, socket, head, this.#auth === undefined ? 0 : Flag.REPORT, undefined, undefined);
  }

  /**
   * Takes the socket of an upgrade. Resolves with the connection's number and description.
   *
   * @param {object} [identity] - as the application gave it; without one, auth decides
   */
  complete(req, socket, head, identity) {
    const known =
      identity === undefined ? undefined : toIdentity(identity, this.#native.maxRooms, offeredIn(req));
    return new Promise((resolve, reject) => {
      const flags = known === undefined ? Flag.REPORT : Flag.REPORT | Flag.TRUSTED;
      this.#take(req, socket, head, flags, known, { resolve, reject });
    });
  }

  #take(req, socket, head, flags, known, waiting) {
    const context = currentContext();
    // Its outcome has to be known, for the context to be kept as long as the connection.
    if (context !== undefined) flags |= Flag.REPORT;
    let taken;
    try {
      taken = this.#handover.take(req, socket, head, flags, known?.native, waiting !== undefined);
    } catch (thrown) {
      context?.emitDestroy();
      throw thrown;
    }
    const { ticket, authenticate, remoteAddress } = taken;
    if (flags & Flag.REPORT) {
      this.#pending.set(ticket, {
        data: known?.data,
        context,
        resolve: waiting?.resolve,
        reject: waiting?.reject,
      });
    }
    if (authenticate) this.#authenticate(ticket, req, remoteAddress);
  }

  /** Keeps nothing of the request but the subprotocols: there may be many requests, and their headers large. */
  #authenticate(ticket, req, remoteAddress) {
    const controller = new LazyAbortController();
    const offered = offeredIn(req);
    const handshake = this.#pending.get(ticket);
    handshake.controller = controller;
    try {
      const answer = this.#auth.authenticate(new AuthenticateRequest(req, remoteAddress, controller));
      if (typeof answer?.then === 'function') {
        Promise.resolve(answer).then(
          (identity) => this.#settle(ticket, identity, offered),
          (thrown) => this.#fail(ticket, thrown),
        );
      } else {
        this.#settle(ticket, answer, offered);
      }
    } catch (thrown) {
      this.#fail(ticket, thrown);
    }
  }

  /** The handshake that the application has answered. None: the client has left, or the deadline has passed, and nobody waits for it. */
  #answered(ticket) {
    const handshake = this.#pending.get(ticket);
    if (handshake !== undefined) handshake.controller = undefined;
    return handshake;
  }

  /** Throws nothing, whatever the answer: nobody would catch it. */
  #settle(ticket, answer, offered) {
    const handshake = this.#answered(ticket);
    if (handshake === undefined || this.#refuse(ticket, handshake, answer)) return;
    if (answer === null || answer === undefined || answer === false) {
      this.#native.authenticated(ticket, null, 'ERR_UNAUTHORIZED');
      return;
    }
    try {
      const identity = toIdentity(answer, this.#native.maxRooms, offered);
      if (identity.native.expiresAt <= Date.now()) {
        this.#native.authenticated(ticket, null, 'ERR_TOKEN_EXPIRED');
        return;
      }
      handshake.data = identity.data;
      this.#native.authenticated(ticket, identity.native);
    } catch (error) {
      this.#native.authenticated(ticket, null, 'ERR_INVALID_IDENTITY');
      this.#onError(error);
    }
  }

  #fail(ticket, thrown) {
    const handshake = this.#answered(ticket);
    if (handshake === undefined || this.#refuse(ticket, handshake, thrown)) return;
    this.#native.authenticated(ticket, null, 'ERR_AUTH_FAILED');
    this.#onError(failure(Error, 'ERR_AUTH_FAILED', `auth.authenticate failed: ${reasonOf(thrown)}`, thrown));
  }

  /** True if `answer` is an `UpgradeRefusal`, which is passed on then. */
  #refuse(ticket, handshake, answer) {
    const refusal = refusalOf(answer);
    if (refusal === undefined) return false;
    handshake.refusal = { given: answer, code: refusal.code };
    this.#native.authenticated(ticket, null, refusal);
    return true;
  }

  /** An upgrade under way: `data` of the identity that it was given, and its `context`. */
  beginningOf(ticket) {
    return this.#pending.get(ticket);
  }

  /** UPGRADED: the handshake is done. `connection` goes to whoever waits for it. */
  upgraded(ticket, connection) {
    const handshake = this.#pending.get(ticket);
    this.#pending.delete(ticket);
    handshake?.resolve?.(connection);
  }

  /** REFUSED: `answer` is the code and the message. */
  refused(ticket, answer) {
    const handshake = this.#pending.get(ticket);
    if (handshake === undefined) return;
    this.#pending.delete(ticket);
    const error = failureOf(answer);
    // The engine may have had a reason of its own before it heard the application's.
    const { refusal } = handshake;
    abandon(handshake, refusal?.code === error.code ? refusal.given : error);
  }

  /** The engine is gone, and no more will be reported. */
  close() {
    for (const handshake of this.#pending.values()) abandon(handshake, closedError());
    this.#pending.clear();
  }
}

/** No connection comes of the handshake. */
function abandon({ controller, context, reject }, error) {
  controller?.abort(error);
  context?.emitDestroy();
  reject?.(error);
}

module.exports = { Handshakes };
