'use strict';

const { createHmac } = require('node:crypto');
const { failure, invalidArg, isObject } = require('../lib/error');
const { now } = require('./real');

/** Seconds that a token is valid. */
const LIFE = 3600;

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const firstOf = (value) => (Array.isArray(value) ? value[0] : value);

/** Signs tokens that a manager with the option `auth` takes. */
class Signer {
  #jwt;

  constructor(auth) {
    this.#jwt = auth?.jwt;
  }

  /** A JWT of that user. Claims of the caller come before those that the options ask for. */
  sign(userId, claims = {}) {
    const { secret, algorithms, audience, issuer, userIdClaim = 'sub' } = this.#jwt ?? {};
    if (secret === undefined) {
      throw failure(
        TypeError,
        'ERR_INVALID_OPTION',
        'tokenFor() signs with the option "auth.jwt.secret", and "auth" has none. Leave "auth" out for a random secret, or ' +
          'give connect() the option "token", and without a user id none',
      );
    }
    if (!isObject(claims)) throw invalidArg('claims', 'an object', claims);
    const algorithm = algorithms?.[0] ?? 'HS256';
    const payload = {
      [userIdClaim]: userId,
      iss: firstOf(issuer),
      aud: audience === false ? undefined : firstOf(audience),
      exp: Math.floor(now() / 1000) + LIFE,
      ...claims,
    };
    const signed = `${base64url({ alg: algorithm, typ: 'JWT' })}.${base64url(payload)}`;
    const hash = algorithm.replace('HS', 'sha');
    return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`;
  }
}

module.exports = { Signer };
