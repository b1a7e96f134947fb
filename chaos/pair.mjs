// The Redis of the run, and a second one that can take its place.
import { setTimeout as sleep } from 'node:timers/promises';
import { RedisServer } from '../__test__/support/redis-server.js';
import { Tap } from './tap.mjs';

const LOOK_MS = 20;
/** The second one may take so long to have what the first one has. */
const PATIENCE_MS = 10_000;
/** A replica gets its master's data at once, and not a few seconds later. */
const LINES = ['repl-diskless-sync-delay 0'];

/** A master, and a spare server that replicates it when that is wanted, over a network that can be made to fail. */
export class Pair {
  #between;

  static async start() {
    const pair = new Pair();
    pair.master = await RedisServer.start(LINES);
    pair.spare = await RedisServer.start(LINES);
    pair.#between = await new Tap(pair.master.port).listen();
    return pair;
  }

  /** Has the spare server replicate the master. Resolves when it has everything. */
  async follow() {
    this.#between.aim(this.master.port);
    await this.spare.command('REPLICAOF', '127.0.0.1', new URL(this.#between.url).port);
    await this.#until(async () => {
      const info = await this.spare.command('INFO', 'replication');
      return info.includes('master_link_status:up');
    });
  }

  /** From here on the master acknowledges what the spare server doesn't have. */
  lag() {
    this.#between.hold(['toRedis', 'toServer']);
  }

  /** Makes the spare server a master, whatever becomes of the other one, which is the spare server then. */
  async promote() {
    await this.spare.command('REPLICAOF', 'NO', 'ONE');
    [this.master, this.spare] = [this.spare, this.master];
    this.#between.cut();
    this.#between.release();
  }

  async #until(isSo) {
    const deadline = Date.now() + PATIENCE_MS;
    while (!(await isSo())) {
      if (Date.now() > deadline) throw new Error('the spare Redis did not get the data of its master');
      await sleep(LOOK_MS);
    }
  }

  async close() {
    this.#between.close();
    await this.master.close();
    await this.spare.close();
  }
}
