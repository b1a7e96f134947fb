import { deliver } from '@/lib/deliver';
import { readDraft } from '@/lib/messages';
import { signedIn } from '@/lib/session';

export async function POST(request: Request) {
  const name = await signedIn();
  if (name === null) return new Response('Not signed in', { status: 401 });
  const draft = readDraft(await request.text());
  if (draft === null) return new Response('Not a draft', { status: 400 });
  return Response.json(await deliver(name, draft, 'route handler'));
}
