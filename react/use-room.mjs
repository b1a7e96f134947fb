import { useCallback, useSyncExternalStore } from 'react';
import { useClient } from './context.mjs';
import { useEvent } from './use-event.mjs';

const EVENTS = ['joined', 'left'];
const onServer = () => false;

export function useRoom(room, { onMessage, onMissed } = {}) {
  const client = useClient();
  const isOff = room === null || room === undefined;
  const holds = (event) => event.room === room;
  useEvent('message', holds, onMessage, isOff);
  useEvent('missed', holds, onMissed, isOff);
  const subscribe = useCallback(
    (notify) => {
      const offs = EVENTS.map((name) => client.on(name, notify));
      return () => {
        for (const off of offs) off();
      };
    },
    [client],
  );
  const joined = useSyncExternalStore(subscribe, () => client.rooms.includes(room), onServer);
  return { joined };
}
