import { useCallback, useEffect, useState, useSyncExternalStore } from 'react';
import { useClient } from './context.mjs';
import { hold } from './room-holds.mjs';
import { useEvent } from './use-event.mjs';

const EVENTS = ['joined', 'left'];
const onServer = () => false;

export function useRoom(room, { onMessage, onMissed, join = false } = {}) {
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
  const [refusal, setRefusal] = useState();
  useEffect(() => {
    if (isOff || !join) return undefined;
    let isOver = false;
    const { joined, release } = hold(client, room);
    joined.then(
      () => !isOver && setRefusal(undefined),
      (error) => !isOver && setRefusal({ client, room, error }),
    );
    return () => {
      isOver = true;
      release();
    };
  }, [client, room, isOff, join]);
  const joined = useSyncExternalStore(subscribe, () => client.rooms.includes(room), onServer);
  const isRefused = join && refusal?.client === client && refusal.room === room;
  return { joined, error: isRefused ? refusal.error : undefined };
}
