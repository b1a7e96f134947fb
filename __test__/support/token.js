'use strict';

const { createHmac } = require('node:crypto');

const SECRET = 'a secret of the tests, 32 bytes or more';

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A JWT by HS256. Without `exp` in `claims` it holds for an hour. */
function sign(claims, secret = SECRET) {
  const head = base64url({ alg: 'HS256', typ: 'JWT' });
  const body = base64url({ exp: Math.floor(Date.now() / 1000) + 3600, ...claims });
  const signature = createHmac('sha256', secret).update(`${head}.${body}`).digest('base64url');
  return `${head}.${body}.${signature}`;
}

module.exports = { SECRET, sign };
