// Bun's own server: run by `bun`, not by Node.
import { collect, mode, ready } from './options.mjs';

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  async fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (pathname === '/gc') {
      await collect();
      return new Response('ok');
    }
    if (server.upgrade(request)) return undefined;
    return new Response('not here', { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    sendPings: false,
    maxPayloadLength: 1024 * 1024,
    backpressureLimit: 64 * 1024 * 1024,
    publishToSelf: true,
    open(ws) {
      if (mode === 'fanout') ws.subscribe('all');
    },
    message(ws, message) {
      if (mode === 'fanout') server.publish('all', message);
      else ws.send(message);
    },
  },
});
ready(server.port);
