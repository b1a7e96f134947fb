import { jwtVerify, SignJWT } from 'jose';
import { cookies } from 'next/headers';
import { userIdOf } from './messages.ts';

const COOKIE = 'session';
const HOURS = 8;

function secret() {
  // Read when it is needed: a build has none.
  const { JWT_SECRET } = process.env;
  if (!JWT_SECRET) throw new Error('The environment variable JWT_SECRET is missing');
  return new TextEncoder().encode(JWT_SECRET);
}

/** Signs in under a name. There are no passwords here: put your own check in front of this. */
export async function startSession(name: string) {
  const token = await new SignJWT({ name })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(userIdOf(name))
    .setExpirationTime(`${HOURS}h`)
    .sign(secret());
  (await cookies()).set(COOKIE, token, {
    httpOnly: true,
    sameSite: 'lax',
    secure: process.env.NODE_ENV === 'production',
    maxAge: HOURS * 3600,
  });
}

export async function endSession() {
  (await cookies()).delete(COOKIE);
}

/** The name of who is signed in, or null. */
export async function signedIn(): Promise<string | null> {
  const token = (await cookies()).get(COOKIE)?.value;
  if (token === undefined) return null;
  try {
    const { payload } = await jwtVerify(token, secret(), { algorithms: ['HS256'] });
    return typeof payload.name === 'string' ? payload.name : null;
  } catch {
    return null;
  }
}
