export { WebSocketClient } from './client.mjs';
export { closeAdvice } from './close.mjs';
