import { startSession } from '@/lib/session';

/** Signs in, by a plain form: sets the cookie that the page and the WebSocket are known by. */
export async function POST(request: Request) {
  const name = String((await request.formData()).get('name') ?? '').trim();
  if (name === '' || name.length > 32) return new Response('A name of 1 to 32 characters', { status: 400 });
  await startSession(name);
  return new Response(null, { status: 303, headers: { location: '/' } });
}
