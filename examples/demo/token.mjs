import { createHmac, timingSafeEqual } from 'node:crypto';

/** An hour. The page gets a new token by itself when the close code says so. */
const LIFETIME_SECONDS = 3600;

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const sign = (text, secret) => createHmac('sha256', secret).update(text).digest();

/** A JSON Web Token (RFC 7519), HS256. The package verifies it in Rust when a WebSocket comes. */
export function issueToken({ userId, name }, secret) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: userId, name, iat: now, exp: now + LIFETIME_SECONDS };
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${text}.${sign(text, secret).toString('base64url')}`;
}

/** The claims of a token that `issueToken` made, or null. For the HTTP routes: WebSockets never come by here. */
export function readToken(token, secret) {
  const end = token.lastIndexOf('.');
  const text = token.slice(0, Math.max(end, 0));
  const given = Buffer.from(token.slice(end + 1), 'base64url');
  const right = sign(text, secret);
  if (given.length !== right.length || !timingSafeEqual(given, right)) return null;
  const claims = JSON.parse(Buffer.from(text.split('.')[1], 'base64url').toString());
  return claims.exp > Date.now() / 1000 ? claims : null;
}
