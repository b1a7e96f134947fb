export { WebSocketClient } from './client.mjs';
export { closeAdvice } from './close.mjs';
export { CoreClient } from './core.mjs';
