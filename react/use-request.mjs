import { useCallback, useEffect, useRef, useState } from 'react';
import { useClient } from './context.mjs';
import { useLatest } from './latest.mjs';

const IDLE = { data: undefined, error: undefined, isPending: false };

const settled = (state) => (state.isPending ? { ...state, isPending: false } : state);

export function useRequest({ timeoutMs } = {}) {
  const client = useClient();
  const [state, setState] = useState(IDLE);
  const latest = useLatest({ timeoutMs });
  const pending = useRef(undefined);

  const abort = useCallback(() => {
    const { current } = pending;
    pending.current = undefined;
    current?.controller.abort();
  }, []);

  const send = useCallback(
    (data) => {
      abort();
      const mine = { client, controller: new AbortController() };
      pending.current = mine;
      setState(({ data }) => ({ data, error: undefined, isPending: true }));
      const settle = (change) => {
        if (pending.current !== mine) return;
        pending.current = undefined;
        setState(({ data }) => ({ data, ...change, isPending: false }));
      };
      const { signal } = mine.controller;
      const options = { ...latest.current, signal };
      // What throws at once is an error as any other.
      new Promise((resolve) => resolve(client.request(data, options))).then(
        (reply) => settle({ data: reply, error: undefined }),
        (error) => settle({ error }),
      );
    },
    [client, abort, latest],
  );

  const reset = useCallback(() => {
    abort();
    setState(IDLE);
  }, [abort]);

  useEffect(() => {
    // Effects also end when the client is another one, or the component is hidden: nobody would settle what was aborted then.
    if (!pending.current) setState(settled);
    return () => {
      if (pending.current?.client === client) abort();
    };
  }, [client, abort]);

  return { ...state, send, reset };
}
