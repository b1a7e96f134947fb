// The page's knowledge of its network. Node has none, and nothing happens.
export const isOffline = () => globalThis.navigator?.onLine === false;

// Calls `wake` when the network is back, and when a hidden page is shown. Answers with what ends that.
export function onWake(wake) {
  const { document } = globalThis;
  const show = () => document.visibilityState === 'visible' && wake();
  globalThis.addEventListener?.('online', wake);
  document?.addEventListener('visibilitychange', show);
  return () => {
    globalThis.removeEventListener?.('online', wake);
    document?.removeEventListener('visibilitychange', show);
  };
}
