'use client';

import { useCallback, useEffect, useRef, useState } from 'react';
import type { FromPage } from '@/lib/messages';

const EVERY_MS = 100;

/** Sends an echo ten times a second, and keeps how long the last one took, and the slowest while a page rendered. */
export function useEcho(send: (message: FromPage) => boolean) {
  const tab = useRef('');
  const [last, setLast] = useState(0);
  const [render, setRender] = useState<{ ms?: number; slowest: number; count: number }>();

  useEffect(() => {
    tab.current = crypto.randomUUID();
    const timer = setInterval(
      () => send({ type: 'echo', tab: tab.current, sentAt: performance.now() }),
      EVERY_MS,
    );
    return () => clearInterval(timer);
  }, [send]);

  const receive = useCallback((message: Extract<FromPage, { type: 'echo' }>) => {
    if (message.tab !== tab.current) return; // of another tab of the same user
    const ms = performance.now() - message.sentAt;
    setLast(ms);
    setRender((now) =>
      now && now.ms === undefined ? { slowest: Math.max(now.slowest, ms), count: now.count + 1 } : now,
    );
  }, []);

  const block = useCallback(async () => {
    const start = performance.now();
    setRender({ slowest: 0, count: 0 });
    await fetch('/slow');
    setRender((now) => now && { ...now, ms: performance.now() - start });
  }, []);

  return { last, render, receive, block };
}

/** Shows that a page that takes long to render delays no message. */
export function Echo({ last, render, block }: Omit<ReturnType<typeof useEcho>, 'receive'>) {
  const busy = render !== undefined && render.ms === undefined;
  return (
    <aside className="card">
      <h2>Echo</h2>
      <p className="figure">
        <b>{last.toFixed(1)}</b> ms
      </p>
      <p>Ten times a second to Rust and back, past JavaScript.</p>
      <button type="button" onClick={block} disabled={busy}>
        {busy ? 'Node is blocked' : 'Block Node for 2 s'}
      </button>
      {render && (
        <p className="verdict" data-done={!busy}>
          {busy ? 'A page is rendering' : `A page took ${Math.round(render.ms ?? 0)} ms to render`};{' '}
          {render.count} echoes meanwhile, the slowest in {render.slowest.toFixed(1)} ms.
        </p>
      )}
    </aside>
  );
}
