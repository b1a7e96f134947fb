// A page for React, before React is loaded: it looks for one then.
import { Window } from 'happy-dom';

const window = new Window({ url: 'http://localhost/' });
for (const name of ['document', 'location', 'navigator', 'window']) {
  const value = name === 'window' ? window : window[name];
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
