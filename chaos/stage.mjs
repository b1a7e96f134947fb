// All that takes part in a run: Redis, the servers with their network, the clients.
import { once } from 'node:events';
import { RedisServer } from '../__test__/support/redis-server.js';
import { connections, rate, redisOptions, seed } from './settings.mjs';
import { Stalls } from './stalls.mjs';
import { Tap } from './tap.mjs';
import { Worker } from './worker.mjs';

/** Starts everything, and keeps what goes wrong. */
export class Stage {
  #opened = [];
  /** What went wrong, in words. */
  failures = [];

  async open() {
    this.stalls = this.#keep(new Stalls().start());
    this.redis = this.#keep(await RedisServer.start());
    this.servers = [await this.#openServer(0), await this.#openServer(1)];
    const urls = this.servers.map(({ url }) => url);
    this.clients = this.#keep(new Worker('clients.mjs', { urls, connections, rate, seed }));
    this.clients.on('dropped', ({ device, code }) =>
      this.#fail(`client ${device} was disconnected with ${code}`),
    );
    this.clients.on('exit', (how) => this.#fail(`the clients ended: ${how}`));
    await once(this.clients, 'listening');
    await this.clients.ask('open');
  }

  /** A server, the network between it and Redis, and the gaps that it tells of. */
  async #openServer(number) {
    const tap = this.#keep(await new Tap(this.redis.port).listen());
    const redis = { ...redisOptions, url: tap.url };
    const worker = this.#keep(new Worker('server.mjs', { number, connections, rate, redis }));
    const server = { tap, worker, gaps: [] };
    worker.on('broker', ({ gapSince, gapUntil }) => {
      if (gapSince !== undefined) server.gaps.push({ since: gapSince, until: gapUntil });
    });
    worker.on('trouble', ({ text }) => this.#fail(`server ${number}: ${text}`));
    worker.on('exit', (how) => this.#fail(`server ${number} ended: ${how}`));
    [{ url: server.url }] = await once(worker, 'listening');
    return server;
  }

  get workers() {
    return [...this.servers.map(({ worker }) => worker), this.clients];
  }

  #fail(text) {
    this.failures.push(text);
  }

  /** Has it closed at the end; what was opened last is closed first. */
  #keep(thing) {
    this.#opened.push(thing);
    return thing;
  }

  async close() {
    for (const thing of this.#opened.splice(0).reverse()) await thing.close();
  }
}
