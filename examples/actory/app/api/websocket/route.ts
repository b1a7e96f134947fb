import { getWebSocketManager, type WebSocketError } from '@actory/websocket';

/** Describes this endpoint and its state. A WebSocket of the same path never comes here. */
export async function GET() {
  try {
    const manager = getWebSocketManager();
    const { connections, users, broker } = manager.stats();
    return Response.json({
      endpoint: 'WebSocket',
      path: manager.path,
      connections,
      users,
      broker: broker.state,
    });
  } catch (error) {
    const { code, message } = error as WebSocketError;
    return Response.json({ endpoint: 'WebSocket', code, message }, { status: 503 });
  }
}
