'use strict';

const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const { mkdtemp, rm } = require('node:fs/promises');
const net = require('node:net');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const { promisify } = require('node:util');

/**
 * Below the ports that the system gives to outgoing connections: one of those could take the port while the server is
 * down, the very client that tries to reach it included.
 */
const PORTS = { first: 20_000, last: 32_000 };
const ATTEMPTS = 3;
/** The file that it saves to, and reads when it starts. */
const SAVED = ['dump.rdb', 'appendonlydir'];

/** A `redis-server` of one's own on a port that stays the same. It dies with this process, however that ends. */
class RedisServer {
  #dir;
  #lines;
  #child;

  constructor(port, dir, lines) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.#dir = dir;
    this.#lines = lines;
  }

  /** Starts one. `lines` are added to its configuration, as in `redis.conf`. */
  static async start(lines = []) {
    const dir = await mkdtemp(join(tmpdir(), 'actory-redis-'));
    for (let attempt = 1; ; attempt += 1) {
      const server = new RedisServer(await freePort(), dir, lines);
      try {
        await server.restart();
        return server;
      } catch (error) {
        // Somebody may have taken the port in between.
        if (attempt < ATTEMPTS) continue;
        await server.close();
        throw error;
      }
    }
  }

  /** Its Unix-domain socket. */
  get path() {
    return join(this.#dir, 'redis.sock');
  }

  /**
   * Runs it again, empty. Resolves when it takes connections. `keepsData`: with what it has saved. `lines` are added to its
   * configuration, this time only.
   */
  async restart({ keepsData = false, lines: more = [] } = {}) {
    if (this.#child !== undefined) await this.kill();
    if (!keepsData) {
      for (const name of SAVED) await rm(join(this.#dir, name), { recursive: true, force: true });
    }
    const config = [
      'bind 127.0.0.1',
      `port ${this.port}`,
      `dir ${this.#dir}`,
      `unixsocket ${this.path}`,
      'save ""',
      'appendonly no',
      ...this.#lines,
      ...more,
    ];
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', 'redis-server', '-'], {
      stdio: 'pipe',
    });
    const lines = createInterface({ input: this.#child.stdout });
    this.#child.stdin.end(`${config.join('\n')}\n`);
    const exited = once(this.#child, 'exit');
    const log = [];
    this.#child.stderr.setEncoding('utf8').on('data', (text) => log.push(text));
    await new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        log.push(line);
        if (line.includes('Ready to accept connections')) resolve();
      });
      exited.then(() => reject(new Error(`redis-server did not start:\n${log.join('\n')}`)), reject);
    });
  }

  /** Ends it at once, as a crash does. */
  async kill() {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** Halts it: its connections live, and nothing answers. */
  pause() {
    this.#child.kill('SIGSTOP');
  }

  /** Ends {@link RedisServer.pause}. */
  resume() {
    this.#child.kill('SIGCONT');
  }

  /** Sends it one command over a connection of its own. Answers as `redis-cli` prints it. */
  async command(...words) {
    const { stdout } = await promisify(execFile)('redis-cli', ['-e', '-s', this.path, ...words.map(String)]);
    return stdout.trimEnd();
  }

  /** The number of a channel's subscribers. */
  async subscribers(channel) {
    return Number((await this.command('PUBSUB', 'NUMSUB', channel)).split('\n')[1]);
  }

  /** Ends it and removes what it left. */
  async close() {
    await this.kill();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** A port that nobody listens on. */
async function freePort() {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first));
    const server = net.createServer();
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}

module.exports = { RedisServer, freePort };
