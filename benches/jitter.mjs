// node benches/jitter.mjs [CLIENTS] [SECONDS]: clients that lose their network for 0.1 to 5 seconds at random, while a room gets 20 messages a
// second. For each library: the part of the messages that arrived, and those that came twice or out of order.
import { execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
if (!existsSync(join(here, 'node_modules/socket.io-client')))
  execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: here });
const { CLIENTS } = await import('./jitter/clients.mjs');
const { Network } = await import('./jitter/network.mjs');

const COUNT = Number(process.argv[2] ?? 1000);
const SECONDS = Number(process.argv[3] ?? 60);
const MESSAGES = 20 * SECONDS;
/** Nothing comes any more after so long without a message. */
const QUIET_MS = 10_000;
const AWAY_MS = [100, 5_000];
const THERE_MS = [1_000, 9_000];
const between = ([least, most]) => least + Math.random() * (most - least);

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

/** One client's messages. */
class Record {
  count = 0;
  twice = 0;
  disordered = 0;
  told = 0;
  #seen = new Uint8Array(MESSAGES);
  #last = -1;

  take(number) {
    if (this.#seen[number]) this.twice += 1;
    else if (number < this.#last) this.disordered += 1;
    if (!this.#seen[number]) this.count += 1;
    this.#seen[number] = 1;
    this.#last = Math.max(this.#last, number);
  }
}

async function run(name, redis) {
  const kind = name.split(',')[0];
  const port = await freePort();
  const server = fork(join(here, 'jitter/server.mjs'), [kind, port, redis]);
  await once(server, 'message');
  const visitors = [];
  for (let i = 0; i < COUNT; i += 1) {
    const network = new Network(port);
    const record = new Record();
    const url = await network.listen();
    const client = CLIENTS[name](
      url,
      (number) => record.take(number),
      () => {
        record.told += 1;
      },
    );
    visitors.push({ network, record, client });
    if (i % 50 === 49) await Promise.all(visitors.slice(-50).map((each) => each.client.opened));
  }
  await Promise.all(visitors.map(({ client }) => client.opened));
  let isOver = false;
  const wander = async (network) => {
    await setTimeout(between([0, THERE_MS[1]]));
    while (!isOver) {
      network.leave();
      await setTimeout(between(AWAY_MS));
      network.comeBack();
      await setTimeout(between(THERE_MS));
    }
  };
  const wandering = visitors.map(({ network }) => wander(network));
  server.send(MESSAGES);
  await once(server, 'message');
  isOver = true;
  await Promise.all(wandering);
  const sum = (of) => visitors.reduce((total, each) => total + of(each), 0);
  const expected = COUNT * MESSAGES;
  let arrived = -1;
  for (let now = 0; arrived < now && now < expected; ) {
    arrived = now;
    await setTimeout(QUIET_MS);
    now = sum(({ record }) => record.count);
  }
  arrived = sum(({ record }) => record.count);
  const line = [
    name,
    `${((100 * arrived) / expected).toFixed(3)} %`,
    expected - arrived,
    sum(({ record }) => record.twice),
    sum(({ record }) => record.disordered),
    sum(({ record }) => record.told),
    sum(({ network }) => network.losses),
  ];
  console.log(`| ${line.join(' | ')} |`);
  for (const { client, network } of visitors) {
    client.close();
    network.close();
  }
  server.kill();
  await once(server, 'exit');
}

const folder = mkdtempSync(join(tmpdir(), 'actory-jitter-'));
const redisPort = await freePort();
const redis = spawn(
  'redis-server',
  ['--port', redisPort, '--bind', '127.0.0.1', '--save', '', '--dir', folder],
  { stdio: 'ignore' },
);
await setTimeout(500);
console.log(`${COUNT} clients, ${MESSAGES} messages in ${SECONDS} s`);
console.log(
  '| client | arrived | missing | twice | out of order | told `missed` | network losses |\n| --- | --: | --: | --: | --: | --: | --: |',
);
for (const name of Object.keys(CLIENTS)) await run(name, `redis://127.0.0.1:${redisPort}`);
redis.kill();
await once(redis, 'exit');
rmSync(folder, { recursive: true });
process.exit();
