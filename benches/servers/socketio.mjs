// Socket.IO as its documentation shows it. With a Redis: its adapter for that, which hands a message to the sockets that this process
// has at once, and publishes it for the other processes.
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import { mode, onRequest, ready } from './options.mjs';

async function overRedis(url) {
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  return { adapter: createAdapter(publisher, subscriber) };
}

const { REDIS_URL } = process.env;
const server = createServer(onRequest);
const io = new Server(server, {
  transports: ['websocket'],
  ...(REDIS_URL !== undefined && (await overRedis(REDIS_URL))),
});

/** The handlers of a socket's messages, by work. */
const handlers = {
  /** A room for each user, each message to that room. */
  relay(socket) {
    const room = `user:${socket.handshake.query.user}`;
    socket.join(room);
    socket.on('m', (data) => io.to(room).emit('m', data));
  },
  /** One room, each message to that room. */
  fanout(socket) {
    socket.join('all');
    socket.on('m', (data) => io.to('all').emit('m', data));
  },
  echo(socket) {
    socket.on('m', (data) => socket.emit('m', data));
  },
};
io.on('connection', handlers[mode] ?? handlers.echo);
server.listen(0, '127.0.0.1', 4096, () => ready(server.address().port));
