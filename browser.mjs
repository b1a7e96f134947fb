// Written by scripts/browser.mjs: what bundles for browsers and edge runtimes get, for those have no addon. A page without a bundler
// can load browser.mjs as it is.

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
  BAD_GATEWAY: [1014, 'reconnect'],
  TOKEN_EXPIRED: [4001, 'refresh'],
  DISCONNECTED: [4002, 'stop'],
  HEARTBEAT: [4003, 'reconnect'],
  SLOW_CONSUMER: [4004, 'reconnect'],
  UNAUTHORIZED: [4401, 'refresh'],
  FORBIDDEN: [4403, 'stop'],
};

/** Every close code the package knows, by name: `CloseCode.SLOW_CONSUMER === 4004`. Documented in index.d.ts. */
const CloseCode = Object.freeze(
  Object.fromEntries(Object.entries(CODES).map(([name, [code]]) => [name, code])),
);

const advice = new Map(Object.values(CODES));

/** A refusal for now: an UpgradeRefusal closes with 4000 plus its status by default, and 429 and those from 500 ask to come later. */
const isLater = (code) => code === 4429 || (code >= 4500 && code < 4600);

/** Advice to a client after a close code: 'reconnect', 'refresh' or 'stop'. Documented in index.d.ts. */
function closeAdvice(code, opened = true) {
  if (code === CloseCode.ABNORMAL && !opened) return 'refresh';
  return advice.get(code) ?? (isLater(code) ? 'reconnect' : 'stop');
}

/** Every error code of the package, by itself. Documented in index.d.ts. */
const ErrorCode = Object.freeze(
  Object.fromEntries(
    [
      'ERR_INVALID_OPTION',
      'ERR_OPTION_OUT_OF_RANGE',
      'ERR_UNKNOWN_OPTION',
      'ERR_AUTH_REQUIRED',
      'ERR_INVALID_SERVER',
      'ERR_INVALID_ARG',
      'ERR_ARG_OUT_OF_RANGE',
      'ERR_TOO_LARGE',
      'ERR_TOO_MANY_ROOMS',
      'ERR_NOT_SERIALIZABLE',
      'ERR_CLOSED',
      'ERR_NAME_TAKEN',
      'ERR_HANDLER_TAKEN',
      'ERR_NO_MANAGER',
      'ERR_BROKER_UNAVAILABLE',
      'ERR_UNCERTAIN',
      'ERR_BROKER_OVERLOADED',
      'ERR_NOT_REPRESENTABLE',
      'ERR_NO_HISTORY',
      'ERR_BROKER_FULL',
      'ERR_BROKER_CONNECT',
      'ERR_BROKER_AUTH',
      'ERR_BROKER_TOO_OLD',
      'ERR_BROKER_ROLE',
      'ERR_BROKER_TIMEOUT',
      'ERR_BROKER_PROTOCOL',
      'ERR_BAD_MESSAGE',
      'ERR_HANDOVER',
      'ERR_LISTENER',
      'ERR_NATIVE_MISSING',
      'ERR_WRONG_RUNTIME',
      'ERR_INTERNAL',
      'ERR_BAD_METHOD',
      'ERR_BAD_HTTP_VERSION',
      'ERR_BAD_BODY',
      'ERR_BAD_UPGRADE',
      'ERR_BAD_CONNECTION',
      'ERR_BAD_HOST',
      'ERR_BAD_VERSION',
      'ERR_BAD_KEY',
      'ERR_BAD_PROTOCOL',
      'ERR_ORIGIN_REFUSED',
      'ERR_URL_TOO_LONG',
      'ERR_HEADERS_TOO_LARGE',
      'ERR_TOKEN_MISSING',
      'ERR_TOKEN_INVALID',
      'ERR_TOKEN_EXPIRED',
      'ERR_UNAUTHORIZED',
      'ERR_REFUSED',
      'ERR_AUTH_FAILED',
      'ERR_INVALID_IDENTITY',
      'ERR_HANDSHAKE_TIMEOUT',
      'ERR_TOO_MANY_CONNECTIONS',
      'ERR_TOO_MANY_HANDSHAKES',
      'ERR_SHUTTING_DOWN',
      'ERR_INVALID_JSON',
      'ERR_BINARY_NOT_RELAYED',
      'ERR_NO_LISTENER',
      'ERR_JOIN_REFUSED',
      'ERR_REQUEST_FAILED',
      'ERR_TOO_MANY_UNANSWERED',
      'ERR_INVALID_MESSAGE',
      'ERR_UNKNOWN_TYPE',
      'ERR_NOT_IN_ROOM',
    ].map((code) => [code, code]),
  ),
);

/** The error of a call that needs Node. */
function wrongRuntime(name) {
  const error = new Error(
    `${name} of @actory/websocket needs Node.js, and this is the package's copy for browsers and edge runtimes. ` +
      'In a Next.js route or middleware, say export const runtime = "nodejs"; in a client component, ' +
      'import only CloseCode, closeAdvice and ErrorCode, and connect with new WebSocket(url); in a test, take the ' +
      'environment "node", not jsdom',
  );
  error.code = ErrorCode.ERR_WRONG_RUNTIME;
  return error;
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
class WebSocketManager {
  constructor() {
    throw wrongRuntime('WebSocketManager');
  }
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
class RedisPubSub {
  constructor() {
    throw wrongRuntime('RedisPubSub');
  }
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
class RequestError {
  constructor() {
    throw wrongRuntime('RequestError');
  }
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
class UpgradeRefusal {
  constructor() {
    throw wrongRuntime('UpgradeRefusal');
  }
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
function getWebSocketManager() {
  throw wrongRuntime('getWebSocketManager');
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
function shutdownOnSignals() {
  throw wrongRuntime('shutdownOnSignals');
}

export {
  CloseCode,
  closeAdvice,
  ErrorCode,
  getWebSocketManager,
  RedisPubSub,
  RequestError,
  shutdownOnSignals,
  UpgradeRefusal,
  WebSocketManager,
};
