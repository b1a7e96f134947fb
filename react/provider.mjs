import { createElement, useEffect, useInsertionEffect, useState } from 'react';
import { ClientContext } from './context.mjs';
import { failure } from './error.mjs';
import { useLatest } from './latest.mjs';
import { COMMIT, LazyClient, MOUNT } from './lazy-client.mjs';

function check(client, url, options) {
  const fault = (message) => failure('ERR_INVALID_ARG', `<WebSocketProvider> ${message}`);
  if (client === undefined) {
    if (url === undefined) throw fault('needs url or client');
    return;
  }
  const others = { url, ...options };
  const other = Object.keys(others).find((name) => others[name] !== undefined);
  if (other) throw fault(`takes no ${other} beside client, which has its own`);
}

// The client of this url and token. An option that is another object in each render makes no other client.
function useOwnClient(url, { token, ...options }) {
  const latest = useLatest(token);
  const [ask] = useState(() => () => {
    const { current } = latest;
    return typeof current === 'function' ? current() : current;
  });
  const secret = typeof token === 'function' ? ask : token;
  const make = () => ({
    url,
    secret,
    client: url === undefined ? undefined : new LazyClient(url, { ...options, token: secret }),
  });
  const [own, setOwn] = useState(make);
  if (own.url === url && own.secret === secret) return own.client;
  const other = make();
  setOwn(other);
  return other.client;
}

export function WebSocketProvider({ children, client, url, ...options }) {
  check(client, url, options);
  const own = useOwnClient(url === undefined ? undefined : String(url), options);
  useInsertionEffect(() => own?.[COMMIT](), [own]);
  useEffect(() => own?.[MOUNT](), [own]);
  return createElement(ClientContext.Provider, { value: client ?? own }, children);
}
