import { createServer } from 'node:http';
import { shutdownOnSignals, WebSocketManager } from '@actory/websocket';
import next from 'next';
import { deliver } from './lib/deliver.ts';
import { readDraft, SERVER, type ToPage } from './lib/messages.ts';

const dev = process.env.NODE_ENV !== 'production';
const port = Number(process.env.PORT ?? 3000);

const app = next({ dev, port });
await app.prepare(); // also reads the .env files
const server = createServer(app.getRequestHandler());

// A page's messages go to all tabs of its user, in Rust. The JWT comes in the cookie that api/session sets.
const manager = new WebSocketManager<{ name: string }>(server, {
  auth: { jwt: { secret: process.env.JWT_SECRET, cookie: 'session' } },
  rejectWith: 'close', // so that a page can tell that it has to sign in
});

manager.on('connection', (connection) => {
  connection.send({ type: 'welcome', server: SERVER } satisfies ToPage);
});

manager.on('message', (connection, text) => {
  const draft = readDraft(text);
  if (draft) return deliver(connection.data.name, draft, 'socket');
});

server.listen(port, process.env.HOST, () => console.log(`Actory (${SERVER}) is at http://localhost:${port}`));

// Pages come back one after the other, on another server. It takes 9 s at most, of the 10 s that Docker gives; pm2 needs a kill_timeout.
shutdownOnSignals(server, { drainMs: dev ? 0 : 3000, onClosed: () => app.close() });
