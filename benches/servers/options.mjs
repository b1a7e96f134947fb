// The command line that all servers share, and what each does around its WebSockets.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    // echo, js-echo, fanout, idle, handshakes, blocked, hold, relay
    mode: { type: 'string', default: 'echo' },
    // 'blocked': JavaScript is busy for this long …
    'block-ms': { type: 'string', default: '0' },
    // … of every period
    'period-ms': { type: 'string', default: '250' },
    // 'hold': the server's own heartbeat; 0 leaves it alone
    'heartbeat-ms': { type: 'string', default: '0' },
    'max-seconds': { type: 'string', default: '300' },
  },
});

export const mode = values.mode;
export const heartbeatMs = Number(values['heartbeat-ms']);

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

/** `GET /gc` and `GET /block?ms=` for Node's http server, ws and this package. */
export function onRequest(request, response) {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname === '/gc') {
    collect().then(() => response.end('ok'));
  } else if (url.pathname === '/block') {
    response.end('ok');
    setTimeout(burn, 100, Number(url.searchParams.get('ms')));
  } else {
    response.writeHead(404).end();
  }
}

/** Tells the runner that it can begin, and starts to block if told to. */
export function ready(port) {
  console.log(`READY ${port} ${process.pid}`);
  if (blockMs > 0) setInterval(burn, periodMs, blockMs);
  // A server whose runner is gone ends by itself.
  setTimeout(() => process.exit(3), Number(values['max-seconds']) * 1000).unref();
}
