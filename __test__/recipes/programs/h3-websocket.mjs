// h3's own server with the plugin of crossws on one path, a manager on another.
import { WebSocketManager } from '@actory/websocket';
import { plugin } from 'crossws/server';
import { defineWebSocketHandler, H3, serve } from 'h3';

const app = new H3();
app.get('/', () => 'hello');
app.get(
  '/theirs',
  defineWebSocketHandler({ message: (peer, message) => peer.send(`theirs: ${message.text()}`) }),
);

const server = serve(app, {
  port: process.env.PORT,
  silent: true,
  gracefulShutdown: false,
  plugins: [plugin({ resolve: async (request) => (await app.fetch(request)).crossws })],
});
await server.ready();
new WebSocketManager(server.node.server);
