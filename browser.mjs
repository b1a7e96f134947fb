// What a page needs of the package: a browser has no addon. Bundles for browsers get it in place of index.mjs, and a page without a
// bundler can load it as it is. The truth is the addon's catalogue (src/engine/close.rs); a test compares them.

/** The close codes of the package by name, and what a client should do after each. */
const CODES = {
  NORMAL: [1000, 'stop'],
  GOING_AWAY: [1001, 'reconnect'],
  PROTOCOL: [1002, 'stop'],
  UNSUPPORTED: [1003, 'stop'],
  NO_STATUS: [1005, 'stop'],
  ABNORMAL: [1006, 'reconnect'],
  BAD_UTF8: [1007, 'stop'],
  POLICY: [1008, 'stop'],
  TOO_LARGE: [1009, 'stop'],
  INTERNAL: [1011, 'reconnect'],
  RESTART: [1012, 'reconnect'],
  TRY_AGAIN_LATER: [1013, 'reconnect'],
  TOKEN_EXPIRED: [4001, 'refresh'],
  DISCONNECTED: [4002, 'stop'],
  HEARTBEAT: [4003, 'reconnect'],
  SLOW_CONSUMER: [4004, 'reconnect'],
  UNAUTHORIZED: [4401, 'stop'],
  FORBIDDEN: [4403, 'stop'],
};

/** Every close code the package knows, by name: `CloseCode.SLOW_CONSUMER === 4004`. Documented in index.d.ts. */
export const CloseCode = Object.freeze(
  Object.fromEntries(Object.entries(CODES).map(([name, [code]]) => [name, code])),
);

const advice = new Map(Object.values(CODES));

/** What a client should do after a close code: 'reconnect', 'refresh' or 'stop'. Documented in index.d.ts. */
export function closeAdvice(code, opened = true) {
  return code === CloseCode.ABNORMAL && !opened ? 'refresh' : (advice.get(code) ?? 'stop');
}
