// Echoes every message through JavaScript. Options as JSON in the first argument are laid over `limits`.
// Prints its port, and closes on SIGTERM.
import { createServer } from 'node:http';
import { WebSocketManager } from '@actory/websocket';

const MIB = 1024 * 1024;

const server = createServer();
const manager = new WebSocketManager(server, {
  path: '/',
  auth: 'anonymous',
  relay: false,
  // The suite answers a ping in the middle of a frame that it sends in chops (6.4.3): the pong then is part of the payload.
  heartbeat: { intervalMs: 3_600_000 },
  limits: {
    // Section 9 goes up to 16 MiB in a message, and echoes several at a time.
    maxPayload: 64 * MIB,
    outboxBytes: 128 * MIB,
    eventBytesPerConnection: 64 * MIB,
    eventBytes: 256 * MIB,
    ...JSON.parse(process.argv[2] ?? '{}'),
  },
});
manager.on('message', (connection, data) => connection.send(data));
manager.on('error', (error) => console.error(error));
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.once('SIGTERM', () => server.close());
