// All that takes part in a run: Redis, the servers with their network, the clients.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readJournal } from './journal.mjs';
import { Pair } from './pair.mjs';
import { connections, history, rate, redisOptions, seed } from './settings.mjs';
import { Stalls } from './stalls.mjs';
import { Tap } from './tap.mjs';
import { Worker } from './worker.mjs';

/** Starts everything, and keeps what goes wrong. */
export class Stage {
  #opened = [];
  #dir;
  /** The failures, in words. */
  failures = [];

  async open() {
    this.stalls = this.#keep(new Stalls().start());
    this.#dir = await mkdtemp(join(tmpdir(), 'actory-chaos-'));
    this.#keep({ close: () => rm(this.#dir, { recursive: true }) });
    this.pair = this.#keep(await Pair.start());
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
    const tap = this.#keep(await new Tap(this.pair.master.port).listen());
    const path = join(this.#dir, `server-${number}`);
    const server = { number, tap, path, life: 0, port: 0, gaps: [] };
    this.#keep({ close: () => server.worker?.close() });
    await this.#run(server);
    return server;
  }

  /** Runs the process of a server. */
  async #run(server) {
    const { number, tap, life, port, path } = server;
    const redis = { ...redisOptions, url: tap.url };
    const worker = new Worker('server.mjs', { number, life, port, path, connections, rate, redis, history });
    server.worker = worker;
    worker.on('broker', ({ gapSince, gapUntil }) => {
      if (gapSince !== undefined) server.gaps.push({ since: gapSince, until: gapUntil });
    });
    worker.on('trouble', ({ text }) => this.#fail(`server ${number}: ${text}`));
    worker.on('exit', (how) => this.#fail(`server ${number} ended: ${how}`));
    const [{ url, port: taken }] = await once(worker, 'listening');
    server.url = url;
    server.port = taken;
  }

  /** Ends a server, without a word to anybody. */
  async crash(number) {
    await this.clients.ask('crash', { server: number });
    await this.servers[number].worker.close();
  }

  /** Another server takes the place of one that has ended. Resolves when its clients are back. */
  async replace(number) {
    const server = this.servers[number];
    server.life += 1;
    await this.#run(server);
    await this.clients.ask('returned', { server: number });
    await server.worker.ask('start');
  }

  get workers() {
    return [...this.servers.map(({ worker }) => worker), this.clients];
  }

  /** Everything that each server has written down, in all its lives. */
  get journals() {
    return this.servers.map(({ path }) => readJournal(path));
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
