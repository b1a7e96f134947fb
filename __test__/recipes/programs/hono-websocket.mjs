// Hono's own WebSocket helper on one path, a manager on another.
import { WebSocketManager } from '@actory/websocket';
import { serve, upgradeWebSocket } from '@hono/node-server';
import { Hono } from 'hono';
import { WebSocketServer } from 'ws';
import { refuseOthers } from './refuse.mjs';

const app = new Hono();
const server = serve({
  fetch: app.fetch,
  port: process.env.PORT,
  websocket: { server: new WebSocketServer({ noServer: true }) },
});
new WebSocketManager(server);
refuseOthers(server, ['/theirs']);

app.get('/', (context) => context.text('hello'));
app.get(
  '/theirs',
  upgradeWebSocket(() => ({ onMessage: (event, socket) => socket.send(`theirs: ${event.data}`) })),
);
