import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { root } from '../../../scripts/run.mjs';
import { client, keep } from './lab.mjs';
import { Tunnel } from './tunnel.mjs';

const require = createRequire(import.meta.url);
const { WebSocketManager } = require('../../..');
const { byQuery } = require('../../support/identity');

/** A manager with its server: `port`. */
export async function serve(options) {
  const server = createServer();
  const manager = new WebSocketManager(server, { auth: byQuery, redis: false, history: true, ...options });
  keep({ close: () => manager.close().then(() => server.close()) });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { manager, port: server.address().port };
}

/** A process with a manager. */
export async function serveApart(redis) {
  const child = fork(join(root, '__test__/client/programs/server.mjs'), [redis.url]);
  keep({
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  });
  const [{ port }] = await once(child, 'message');
  return { child, port };
}

/** A client behind a network: its messages by topic, and its other events. */
export async function visit(portOf, query, cutAfter, options) {
  const tunnel = keep(await new Tunnel(portOf, cutAfter).listen());
  const made = client(new URL(`/api/websocket?${query}`, tunnel.url), options);
  const got = { user: [], 'room:tea': [] };
  const missed = [];
  made.client.on('message', ({ topic, data }) => got[topic]?.push(data));
  made.client.on('missed', (event) => missed.push(event));
  await made.status('open');
  return { ...made, tunnel, got, missed };
}

/** Waits until the last of so many has come, or this message. */
export async function arrived(list, last) {
  while (list.at(-1) !== (typeof last === 'number' ? last - 1 : last)) await setTimeout(5);
}
