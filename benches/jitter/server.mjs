// node server.mjs KIND REDIS_URL: a server with one room that everybody is in. Tells its port, publishes the numbers from 0 on when it hears
// how many, 20 a second, and says when it is done.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const [kind, redis] = process.argv.slice(2);
const RATE = 20;

const SERVERS = {
  async actory(http) {
    const { WebSocketManager } = createRequire(import.meta.url)('../..');
    const manager = new WebSocketManager(http, {
      auth: {
        authenticate: ({ url }) => ({
          userId: new URL(url, 'http://localhost').searchParams.get('user'),
          rooms: ['room'],
        }),
      },
      redis: { url: redis },
      relay: false,
      history: { size: 1000 },
    });
    await manager.ready();
    return (number) => manager.sendToRoom('room', number);
  },
  async ws(http) {
    const { WebSocketServer } = await import('ws');
    const server = new WebSocketServer({ server: http });
    server.on('connection', (socket) => socket.on('error', () => {}));
    return (number) => {
      for (const client of server.clients) if (client.readyState === 1) client.send(String(number));
    };
  },
  async socketio(http) {
    const { Server } = await import('socket.io');
    const { createAdapter } = await import('@socket.io/redis-streams-adapter');
    const { createClient } = await import('redis');
    const client = await createClient({ url: redis }).connect();
    const io = new Server(http, {
      transports: ['websocket'],
      adapter: createAdapter(client),
      connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
    });
    io.on('connection', (socket) => {
      if (!socket.recovered) socket.join('room');
    });
    return (number) => io.to('room').emit('number', number);
  },
};

const http = createServer();
const publish = await SERVERS[kind](http);
http.listen(0, '127.0.0.1', () => process.send(http.address().port));
process.on('message', (count) => {
  let number = 0;
  const timer = setInterval(async () => {
    if (number < count) return publish(number++);
    clearInterval(timer);
    process.send('published');
  }, 1000 / RATE);
});
process.on('disconnect', () => process.exit());
