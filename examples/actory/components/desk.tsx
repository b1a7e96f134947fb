'use client';

import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { signOut } from '@/app/actions';
import type { FromPage, ToPage } from '@/lib/messages';
import { useSocket } from '@/lib/use-socket';
import { Composer } from './composer';
import { Echo, useEcho } from './echo';
import { Heading } from './heading';

type Message = Extract<ToPage, { type: 'message' }>;

const STATES = { connecting: 'Connecting', open: 'Connected', waiting: 'Coming back', closed: 'Closed' };

/** The page of a user who is signed in. */
export function Desk({ name }: { name: string }) {
  const router = useRouter();
  const [server, setServer] = useState('');
  const [messages, setMessages] = useState<Message[]>([]);
  const { state, send } = useSocket(receive, () => router.refresh());
  const echo = useEcho(send);

  function receive(message: ToPage | FromPage) {
    if (message.type === 'welcome') setServer(message.server);
    else if (message.type === 'message') setMessages((all) => [...all, message].slice(-100));
    else if (message.type === 'echo') echo.receive(message);
  }

  return (
    <main className="desk">
      <header>
        <h1>Actory</h1>
        <span className="state" data-state={state}>
          {STATES[state]}
        </span>
        {server !== '' && <span className="server">on {server}</span>}
        <form action={signOut}>
          {name} <button type="submit">Sign out</button>
        </form>
      </header>
      <section className="messages">
        <Heading />
        <ol>
          {messages.map(({ id, from, to, text, via, server: by }) => (
            <li key={id} data-own={from === name}>
              <b>{from}</b> to {to || 'everyone'}
              <p>{text}</p>
              <small>
                through a {via} of {by}
              </small>
            </li>
          ))}
        </ol>
        <Composer send={send} />
      </section>
      <Echo {...echo} />
    </main>
  );
}
