import { useEffect } from 'react';
import { useClient } from './context.mjs';
import { useLatest } from './latest.mjs';

// Calls the latest `listener` at each event of that name for which the latest `holds` does. `isOff`: at none.
export function useEvent(name, holds, listener, isOff = false) {
  const client = useClient();
  const latest = useLatest({ holds, listener });
  useEffect(() => {
    if (isOff) return undefined;
    return client.on(name, (event) => {
      const { holds, listener } = latest.current;
      if (holds(event)) listener?.(event);
    });
  }, [client, name, isOff, latest]);
}
