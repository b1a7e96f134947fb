// A server that ends in order, and leaves a file when it has.
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { shutdownOnSignals, WebSocketManager } from '@actory/websocket';

const server = createServer((_request, response) => response.end('a page'));
new WebSocketManager(server, { auth: 'anonymous', redis: false });
shutdownOnSignals(server, { onClosed: () => writeFileSync('closed', '') });
server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready'));
