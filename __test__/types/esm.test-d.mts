// The same types for ES modules, which have named exports only.

// @ts-expect-error there is no default export
// The same types for ES modules, which have named exports only.

import whole, {
  CloseCode,
  closeAdvice,
  ErrorCode,
  getWebSocketManager,
  type WebSocketManager,
} from '@actory/websocket';

const manager: WebSocketManager = getWebSocketManager();

export { CloseCode, closeAdvice, ErrorCode, manager, whole };
