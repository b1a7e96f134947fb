import { createContext, useContext } from 'react';
import { failure } from './error.mjs';

export const ClientContext = createContext(undefined);

export function useClient() {
  const client = useContext(ClientContext);
  if (!client) throw failure('ERR_NO_PROVIDER', 'There is no <WebSocketProvider> around this component');
  return client;
}
