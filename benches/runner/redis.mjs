// One redis-server for one run: in memory, on a free port, its configuration as it comes.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';

const START_MS = 10_000;
const TRIES = 3;

/** Starts one by `launch(command)`, which runs it on the right core and ends it; tells where it is. */
export async function startRedis(launch) {
  for (let tried = 1; ; tried++) {
    const port = await freePort();
    const server = launch([
      ...['redis-server', '--bind', '127.0.0.1', '--port', String(port)],
      ...['--save', '', '--appendonly', 'no', '--dir', tmpdir()],
    ]);
    try {
      await server.line(/Ready to accept connections/, START_MS);
      return { url: `redis://127.0.0.1:${port}`, pid: server.pid };
    } catch (error) {
      // Somebody may have taken the port in between.
      if (tried === TRIES) throw error;
      await server.end();
    }
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
