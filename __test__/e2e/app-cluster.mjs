// The Actory app in production: built, on two servers behind nginx, with Redis between them.
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import balancer from '../support/balancer.js';
import redisServer from '../support/redis-server.js';

const { startBalancer } = balancer;
const { RedisServer, freePort } = redisServer;

export class AppCluster {
  #app;
  #redis;
  #nginx;
  /** The port of each server, by its name. */
  ports = {};
  /** The running servers, by their names. */
  servers = {};

  constructor(app) {
    this.#app = app;
  }

  /** Builds an installed app and starts all of it. */
  static async start(app) {
    const cluster = new AppCluster(app);
    try {
      await cluster.#begin();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  async #begin() {
    // `next build` evaluates every route's module. There is no manager then, no secret and no Redis.
    await this.#app.run('npm', ['run', 'build:standalone']);
    const built = join(this.#app.folder, '.next/standalone');
    await cp(built, this.#standalone, { recursive: true, verbatimSymlinks: true });
    this.#redis = await RedisServer.start();
    this.ports = { 'server-1': await freePort(), 'server-2': await freePort() };
    await Promise.all(Object.keys(this.ports).map((name) => this.startServer(name)));
    this.#nginx = await startBalancer('nginx', Object.values(this.ports));
  }

  /** A copy, so that it has nothing around it: neither the app's sources nor its node_modules. */
  get #standalone() {
    return join(this.#app.folder, '../standalone');
  }

  /** The address that browsers know. */
  get url() {
    return `http://localhost:${this.#nginx.port}`;
  }

  /** Starts server-1 as `npm start` does, server-2 from the standalone folder. */
  async startServer(name) {
    const options = { name, port: this.ports[name], redis: this.#redis.url };
    this.servers[name] =
      name === 'server-1'
        ? await this.#app.serve('start', options)
        : await this.#app.serve('standalone', { ...options, folder: this.#standalone });
  }

  async stop() {
    await Promise.all(Object.values(this.servers).map((server) => server.end('SIGKILL')));
    await this.#nginx?.close();
    await this.#redis?.close();
  }
}
