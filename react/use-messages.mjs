import { useEvent } from './use-event.mjs';

export function useMessages(onMessage, { topic } = {}) {
  const holds = (event) => (topic === undefined ? event.room === undefined : event.topic === topic);
  useEvent('message', holds, onMessage);
}

export function useMissed(onMissed, { topic } = {}) {
  useEvent('missed', (event) => topic === undefined || event.topic === topic, onMissed);
}
