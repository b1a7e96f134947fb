'use server';

import { deliver } from '@/lib/deliver';
import { readDraft } from '@/lib/messages';
import { endSession, signedIn } from '@/lib/session';

export async function send(form: unknown) {
  const name = await signedIn();
  const draft = readDraft(form);
  if (name === null || draft === null) throw new Error('Not signed in, or not a draft');
  return deliver(name, draft, 'server action');
}

export async function signOut() {
  await endSession();
}
