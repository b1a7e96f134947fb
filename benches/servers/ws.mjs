// The npm package `ws` on Node's http server.
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { mode, onRequest, ready } from './options.mjs';

const server = createServer(onRequest);
/** 'fair': more than this unsent, and a client is a slow consumer, as by this package's default. */
const OUTBOX = 1024 * 1024;

const wss = new WebSocketServer({ server, perMessageDeflate: false });

wss.on('connection', (socket) => {
  socket.on('error', () => {});
  if (mode === 'fanout') {
    socket.on('message', (data) => {
      for (const client of wss.clients) client.send(data, { binary: false });
    });
  } else if (mode === 'fair') {
    socket.on('message', (data, binary) => {
      if (socket.bufferedAmount > OUTBOX) socket.terminate();
      else socket.send(data, { binary });
    });
  } else {
    socket.on('message', (data, binary) => socket.send(data, { binary }));
  }
});
server.listen(0, '127.0.0.1', 4096, () => ready(server.address().port));
