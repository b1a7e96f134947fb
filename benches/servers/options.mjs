// The command line that all servers share, and what each does around its WebSockets.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    // echo, js-echo, fanout, idle, handshakes, blocked, hold, relay, fair
    mode: { type: 'string', default: 'echo' },
    // 'blocked': JavaScript is busy for this long …
    'block-ms': { type: 'string', default: '0' },
    // … of every period
    'period-ms': { type: 'string', default: '250' },
    // 'hold': the server's own heartbeat; 0 leaves it alone
    'heartbeat-ms': { type: 'string', default: '0' },
    // 'fair': whom a message goes to, if not to its user
    relay: { type: 'string', default: 'user' },
    // 'fair': the key of the tokens that connections need, in PEM
    'public-key': { type: 'string' },
    // 'relay': messages are kept, too
    history: { type: 'boolean', default: false },
    'max-seconds': { type: 'string', default: '300' },
  },
});

export const mode = values.mode;
export const heartbeatMs = Number(values['heartbeat-ms']);
export const relay = values.relay;
export const publicKey = values['public-key'];
export const hasHistory = values.history;

const blockMs = Number(values['block-ms']);
const periodMs = Number(values['period-ms']);

/** Keeps this thread busy, as a page render would. */
export function burn(ms) {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

/** Collects garbage, twice: the first round may only have queued finalizers. */
export async function collect() {
  const gc = globalThis.Bun ? () => globalThis.Bun.gc(true) : globalThis.gc;
  gc();
  await new Promise((resolve) => setTimeout(resolve, 50));
  gc();
}

/** The answer to `GET` of each path, or a promise of it. */
export const routes = {
  '/gc': () => collect().then(() => 'ok'),
  '/block': (query) => {
    setTimeout(burn, 100, Number(query.get('ms')));
    return 'ok';
  },
};

/** The routes for Node's http server: ws and this package. */
export async function onRequest(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  if (!Object.hasOwn(routes, pathname)) response.writeHead(404).end();
  else response.end(await routes[pathname](searchParams));
}

/** Tells the runner that it can begin, and starts to block if told to. */
export function ready(port) {
  console.log(`READY ${port} ${process.pid}`);
  if (blockMs > 0) setInterval(burn, periodMs, blockMs);
  // A server whose runner is gone ends by itself.
  setTimeout(() => process.exit(3), Number(values['max-seconds']) * 1000).unref();
}
