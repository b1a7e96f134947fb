// A bundler adds this to a page for fast refresh. It has to be there before React is.
import './page.mjs';
import runtime from 'react-refresh/runtime';

runtime.injectIntoGlobalHook(globalThis);

export const page = {
  /** Names a component of a module. `signature`: its hooks, as the compiler writes them down. */
  register(component, name, signature) {
    runtime.register(component, name);
    runtime.setSignature(component, signature);
  },
  /** Shows what was registered since in place of what has the same names. */
  refresh() {
    runtime.performReactRefresh();
  },
};
