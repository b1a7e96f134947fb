'use client';
export { WebSocketProvider } from './provider.mjs';
export { useMessages, useMissed } from './use-messages.mjs';
export { useRequest } from './use-request.mjs';
export { useRoom } from './use-room.mjs';
export { useWebSocket } from './use-web-socket.mjs';
