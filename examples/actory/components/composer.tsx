'use client';

import { type FormEvent, useState } from 'react';
import { send as sendByAction } from '@/app/actions';
import type { FromPage, Via } from '@/lib/messages';

const WAYS: Via[] = ['socket', 'route handler', 'server action'];

/** Sends a message in one of three ways. What arrives is the same. */
export function Composer({ send }: { send: (message: FromPage) => boolean }) {
  const [via, setVia] = useState<Via>('socket');
  const [outcome, setOutcome] = useState('');

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const fields = new FormData(form);
    const draft = { type: 'draft', to: String(fields.get('to')), text: String(fields.get('text')) } as const;
    try {
      if (via === 'socket') {
        setOutcome(send(draft) ? 'Sent' : 'Not connected');
      } else {
        const { status, nodes } = via === 'server action' ? await sendByAction(draft) : await post(draft);
        setOutcome(nodes === null ? status : `${status}, to ${nodes} server${nodes === 1 ? '' : 's'}`);
      }
      (form.elements.namedItem('text') as HTMLInputElement).value = '';
    } catch (error) {
      setOutcome(String(error));
    }
  }

  return (
    <form className="composer" onSubmit={submit}>
      <input name="to" aria-label="To" placeholder="To everyone" maxLength={32} autoComplete="off" />
      <input
        name="text"
        aria-label="Text"
        placeholder="Write something"
        required
        maxLength={1000}
        autoComplete="off"
      />
      <button type="submit">Send</button>
      <fieldset>
        <legend>through a</legend>
        {WAYS.map((way) => (
          <label key={way}>
            <input type="radio" name="via" checked={via === way} onChange={() => setVia(way)} />
            {way}
          </label>
        ))}
        <output>{outcome}</output>
      </fieldset>
    </form>
  );
}

async function post(draft: object) {
  const response = await fetch('/api/messages', { method: 'POST', body: JSON.stringify(draft) });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}
