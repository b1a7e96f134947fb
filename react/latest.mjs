import { useInsertionEffect, useRef } from 'react';

// A ref to what the last committed render was given. No effect of any component runs before it is up to date.
export function useLatest(value) {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}
