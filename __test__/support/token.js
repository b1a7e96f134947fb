'use strict';

const { createHmac } = require('node:crypto');

const SECRET = 'a secret of the tests, 32 bytes or more';

const base64url = (text) => Buffer.from(text).toString('base64url');
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600;

/** A JWT by HS256. Without `exp` in `claims` it holds for an hour. */
const sign = (claims, secret = SECRET) => signText(JSON.stringify({ exp: inAnHour(), ...claims }), secret);

/** A JWT by HS256 of claims, and a header, that are written like this. */
function signText(claims, secret = SECRET, header = '{"alg":"HS256","typ":"JWT"}') {
  const signed = `${base64url(header)}.${base64url(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

module.exports = { SECRET, inAnHour, sign, signText };
