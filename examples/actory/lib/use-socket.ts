'use client';

import { closeAdvice } from '@actory/websocket';
import { useCallback, useEffect, useRef, useState } from 'react';
import type { FromPage, ToPage } from './messages.ts';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;

/** Random, so that the pages of a server that went away don't come back all at once. */
const pauseAfter = (failures: number) =>
  Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + Math.random() / 2);

export type SocketState = 'connecting' | 'open' | 'waiting' | 'closed';

/** A WebSocket that comes back. `onMessage` gets what the server sends, `onExpired` is told that the session is over. */
export function useSocket(onMessage: (message: ToPage | FromPage) => void, onExpired: () => void) {
  const [state, setState] = useState<SocketState>('connecting');
  const socket = useRef<WebSocket>(undefined);
  const handlers = useRef({ onMessage, onExpired });
  useEffect(() => {
    handlers.current = { onMessage, onExpired };
  });

  useEffect(() => {
    let failures = 0;
    // Not at once: in development React runs an effect twice, and the first run is over by then.
    let timer = setTimeout(open);

    function open() {
      setState('connecting');
      const current = new WebSocket('/api/websocket');
      socket.current = current;
      current.onopen = () => setState('open');
      current.onmessage = ({ data }) => {
        failures = 0;
        handlers.current.onMessage(JSON.parse(data));
      };
      current.onclose = ({ code }) => {
        if (socket.current !== current) return;
        const advice = closeAdvice(code);
        // A fresh token takes a person here.
        if (advice === 'refresh') handlers.current.onExpired();
        if (advice !== 'reconnect') return setState('closed');
        setState('waiting');
        timer = setTimeout(open, pauseAfter(failures++));
      };
    }

    return () => {
      clearTimeout(timer);
      const last = socket.current;
      socket.current = undefined;
      last?.close(1000);
    };
  }, []);

  /** True if it went out. */
  const send = useCallback((message: FromPage) => {
    if (socket.current?.readyState !== WebSocket.OPEN) return false;
    socket.current.send(JSON.stringify(message));
    return true;
  }, []);

  return { state, send };
}
