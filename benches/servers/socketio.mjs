// Socket.IO with its Redis adapter, as its documentation shows both: a room for each user, each message to that room.
// The adapter hands the message to the sockets that this process has at once, and publishes it for the other processes.
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import { onRequest, ready } from './options.mjs';

const publisher = createClient({ url: process.env.REDIS_URL });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const server = createServer(onRequest);
const io = new Server(server, { adapter: createAdapter(publisher, subscriber), transports: ['websocket'] });
io.on('connection', (socket) => {
  const room = `user:${socket.handshake.query.user}`;
  socket.join(room);
  socket.on('m', (data) => io.to(room).emit('m', data));
});
server.listen(0, '127.0.0.1', 4096, () => ready(server.address().port));
