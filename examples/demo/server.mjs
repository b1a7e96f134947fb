// The chat demo: a plain Node HTTP server, with the WebSockets of @actory/websocket on it. Alone, or, with a name in
// SERVER, one of several that share the Redis of REDIS_URL and the JWT_SECRET: see cluster.mjs.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { shutdownOnSignals, WebSocketManager } from '@actory/websocket';
import { Chat, fromServer } from './chat.mjs';
import { History } from './history.mjs';
import { Peers } from './peers.mjs';
import { issueToken, readToken } from './token.mjs';

const HOST = process.env.HOST ?? '127.0.0.1';
const PORT = portFrom(process.env.PORT);
const { SERVER, REDIS_URL } = process.env;
const BLOCK_MS = 2000;

/** Of one server alone, a new one at each start. The page gets itself a new token when its old one is refused. */
const secret = SERVER ? process.env.JWT_SECRET : randomBytes(32);

function portFrom(text) {
  if (text === undefined || text === '') return 3000;
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  console.error(`PORT must be a number from 0 to 65535; got ${JSON.stringify(text)}`);
  process.exit(1);
}

const server = createServer(async (req, res) => {
  try {
    const [pathname] = req.url.split('?', 1);
    const route = routes[`${req.method} ${pathname}`] ?? sendFile;
    await route(req, res, pathname);
  } catch (error) {
    if (!(error instanceof HttpError)) console.error(error);
    sendJson(res, error.status ?? 500, {
      error: error instanceof HttpError ? error.message : 'The server failed',
    });
  }
});

// All that it takes: tokens are verified in Rust, and text goes to everyone in the sender's rooms without passing here.
const manager = new WebSocketManager(server, {
  auth: { jwt: { secret } },
  relay: 'rooms',
  redis: SERVER ? { url: REDIS_URL } : false,
});
manager.on('error', (error) => console.error(error));
manager.on('broker', (status) => manager.connections.broadcast(fromServer({ type: 'broker', ...status })));
const history = new History();
const peers = SERVER ? new Peers(SERVER, history) : null;
new Chat(manager, history, peers);

class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const routes = {
  /** Signs anyone in under the name they give: this is a demo, and there are no passwords. */
  'POST /login': async (req, res) => {
    const { name } = await readJson(req);
    const clean =
      typeof name === 'string' ? name.normalize('NFKC').replace(/\s+/g, ' ').trim().slice(0, 32) : '';
    if (clean === '') throw new HttpError(400, 'A name is needed');
    const userId = clean.toLowerCase();
    sendJson(res, 200, { userId, name: clean, token: issueToken({ userId, name: clean }, secret) });
  },

  'GET /api/stats': (_req, res) => sendJson(res, 200, manager.stats()),

  /** The number of connections on all servers together. */
  'GET /api/count': async (_req, res) => sendJson(res, 200, await manager.countConnections()),

  /** From a route handler to all connections of one user. */
  'POST /api/wave': async (req, res) => {
    const from = signedIn(req);
    const { userId } = await readJson(req);
    if (typeof userId !== 'string' || userId === '') throw new HttpError(400, 'A userId is needed');
    sendJson(res, 200, await manager.sendToUser(userId, fromServer({ type: 'wave', name: from.name })));
  },

  /** From a route handler to everyone. */
  'POST /api/announce': async (req, res) => {
    const from = signedIn(req);
    const { text: words } = await readJson(req);
    if (typeof words !== 'string' || words.trim() === '') throw new HttpError(400, 'A text is needed');
    const message = { type: 'announcement', name: from.name, text: words.trim().slice(0, 280) };
    sendJson(res, 200, await manager.broadcast(fromServer(message)));
  },

  /**
   * Does to Node what a slow page render does: nothing else runs on its thread until it is over. Told to the connections
   * of this server, for it is about this one.
   */
  'POST /api/block': (req, res) => {
    const { name } = signedIn(req);
    manager.connections.broadcast(fromServer({ type: 'blocked', ms: BLOCK_MS, name }));
    const start = performance.now();
    while (performance.now() - start < BLOCK_MS);
    const ms = Math.round(performance.now() - start);
    manager.connections.broadcast(fromServer({ type: 'unblocked', ms }));
    sendJson(res, 200, { ms });
  },
};

/** The claims of the caller's token. */
function signedIn(req) {
  const [, token] = /^Bearer (.+)$/.exec(req.headers.authorization ?? '') ?? [];
  const claims = token && readToken(token, secret);
  if (!claims) throw new HttpError(401, 'Not signed in');
  return claims;
}

async function readJson(req) {
  if (!(Number(req.headers['content-length']) <= 4096)) throw new HttpError(413, 'At most 4 KiB of JSON');
  try {
    return Object(JSON.parse(await text(req)));
  } catch {
    throw new HttpError(400, 'Not JSON');
  }
}

function sendJson(res, status, body) {
  res.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  res.end(JSON.stringify(body));
}

/** The package's own file for browsers. */
const BROWSER = new URL(import.meta.resolve('@actory/websocket/browser.mjs'));

const files = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
  '/chat.css': ['chat.css', 'text/css; charset=utf-8'],
  '/icon.svg': ['icon.svg', 'image/svg+xml'],
  '/client.mjs': ['client.mjs', 'text/javascript; charset=utf-8'],
  '/actory.mjs': [BROWSER, 'text/javascript; charset=utf-8'],
  '/link.mjs': ['link.mjs', 'text/javascript; charset=utf-8'],
  '/cluster.mjs': ['cluster.mjs', 'text/javascript; charset=utf-8'],
  '/session.mjs': ['session.mjs', 'text/javascript; charset=utf-8'],
  '/latency.mjs': ['latency.mjs', 'text/javascript; charset=utf-8'],
  '/chart.mjs': ['chart.mjs', 'text/javascript; charset=utf-8'],
  '/view.mjs': ['view.mjs', 'text/javascript; charset=utf-8'],
};

async function sendFile(_req, res, pathname) {
  const file = Object.hasOwn(files, pathname) ? files[pathname] : null;
  if (file === null) throw new HttpError(404, 'Not found');
  const [name, type] = file;
  const content = await readFile(new URL(name, new URL('public/', import.meta.url)));
  res.writeHead(200, {
    'content-type': type,
    'cache-control': 'no-cache',
    'content-security-policy': "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
  });
  res.end(content);
}

server.on('error', (error) => {
  if (error.code !== 'EADDRINUSE') throw error;
  console.error(`Port ${PORT} is taken. Another one: PORT=${PORT + 1} npm run demo`);
  process.exit(1);
});
server.listen(PORT, HOST, () => {
  const shown = HOST === '127.0.0.1' ? 'localhost' : HOST;
  const url = `http://${shown}:${server.address().port}`;
  console.log(`The chat is at ${url}
Open it twice, say as ${url}/?name=Ada and ${url}/?name=Grace, write,
and press "Block Node's thread for 2 s" while you watch the latency. Ctrl+C ends it.`);
});

shutdownOnSignals(server, { onClosed: () => peers?.close() });
