// Around the CommonJS one, so that both kinds of importers share one module and its classes.
import module from './index.js';

export const {
  WebSocketManager,
  RedisPubSub,
  RequestError,
  UpgradeRefusal,
  getWebSocketManager,
  shutdownOnSignals,
  CloseCode,
  closeAdvice,
  ErrorCode,
} = module;
