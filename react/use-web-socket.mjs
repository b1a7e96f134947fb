import { useCallback, useSyncExternalStore } from 'react';
import { useClient } from './context.mjs';

const onServer = () => 'connecting';
const nobody = () => undefined;

export function useWebSocket() {
  const client = useClient();
  const subscribe = useCallback((notify) => client.on('status', notify), [client]);
  const status = useSyncExternalStore(subscribe, () => client.status, onServer);
  // The server says it right before the status is `open`.
  const userId = useSyncExternalStore(subscribe, () => client.userId, nobody);
  return { client, status, userId };
}
