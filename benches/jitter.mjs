// node benches/jitter.mjs [CLIENTS] [SECONDS]: clients that lose their network for 0.1 to 5 seconds at random, while a room gets 20 messages a
// second. For each library: the part of the messages that arrived, and those that came twice or out of order.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Tunnel } from '../__test__/client/support/tunnel.mjs';
import { install } from './runner/prepare.mjs';

const { RedisServer } = createRequire(import.meta.url)('../__test__/support/redis-server');
install();
const { CLIENTS } = await import('./jitter/clients.mjs');

const COUNT = Number(process.argv[2] ?? 1000);
const SECONDS = Number(process.argv[3] ?? 60);
const MESSAGES = 20 * SECONDS;
/** Nothing comes any more after so long without a message. */
const QUIET_MS = 10_000;
const AWAY_MS = [100, 5_000];
const THERE_MS = [1_000, 9_000];
const between = ([least, most]) => least + Math.random() * (most - least);

/** Nobody listens there. */
const NOWHERE = 1;

/** The network of one client: away for a while, now and then. */
class Network {
  #isAway = false;
  #tunnel;
  losses = 0;

  constructor(port) {
    this.#tunnel = new Tunnel(() => (this.#isAway ? NOWHERE : port));
  }

  async listen() {
    await this.#tunnel.listen();
    return this.#tunnel.url.replace('ws:', 'http:');
  }

  /** Everything that is on its way is lost, and nothing connects. */
  leave() {
    this.losses += 1;
    this.#isAway = true;
    this.#tunnel.cut();
  }

  comeBack() {
    this.#isAway = false;
  }

  close() {
    return this.#tunnel.close();
  }
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
  const server = fork(fileURLToPath(new URL('jitter/server.mjs', import.meta.url)), [kind, redis]);
  const [port] = await once(server, 'message');
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
  for (const { client } of visitors) client.close();
  await Promise.all(visitors.map(({ network }) => network.close()));
  server.kill();
  await once(server, 'exit');
}

const redis = await RedisServer.start();
console.log(`${COUNT} clients, ${MESSAGES} messages in ${SECONDS} s`);
console.log(
  '| client | arrived | missing | twice | out of order | told `missed` | network losses |\n| --- | --: | --: | --: | --: | --: | --: |',
);
for (const name of Object.keys(CLIENTS)) await run(name, redis.url);
await redis.close();
process.exit();
