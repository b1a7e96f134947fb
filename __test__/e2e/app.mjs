// The Next.js app of examples/actory as a user has it: in a folder of its own, installed from a registry, without Rust.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pack } from '../../scripts/pack.mjs';
import { which } from '../../scripts/prepare.mjs';
import { start as startRegistry } from '../../scripts/registry.mjs';
import { root } from '../../scripts/run.mjs';
import token from '../support/token.js';

const END_MS = 10_000;

/** All that it takes to use the package: neither cargo nor rustc, nor any other compiler. */
const TOOLS = ['node', 'npm', 'npx', 'sh'];

/** npm's way to its registry; nothing else that a developer of this repository has set. */
const ofNpm = Object.entries(process.env).filter(([name]) =>
  /^(npm_config_(registry|cafile|.*proxy)|(https?|no)_proxy|NODE_EXTRA_CA_CERTS)$/i.test(name),
);

const WAYS = {
  dev: { args: ['--import', 'tsx', 'server.ts'], mode: 'development' },
  start: { args: ['--import', 'tsx', 'server.ts'], mode: 'production' },
  standalone: { args: ['server.js'], mode: 'production' },
  'next start': {
    args: ['node_modules/next/dist/bin/next', 'start', '--hostname', '127.0.0.1'],
    mode: 'production',
    ready: /Ready in/,
  },
};

/** A program in the app's folder. */
export class Program {
  #child;
  #exited;
  #output = '';
  #lines;

  constructor(command, args, options) {
    this.#child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#exited = once(this.#child, 'close');
    this.#exited.catch(() => {});
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.#output += text;
      });
    }
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  /** All that it has printed so far. */
  get output() {
    return this.#output;
  }

  /** Resolves with the match once it has printed a line like this. */
  async says(pattern) {
    const ended = this.#exited.then(([code, signal]) => {
      throw new Error(`It ended (${signal ?? code}):\n${this.#output}`);
    });
    ended.catch(() => {});
    for (;;) {
      const found = pattern.exec(this.#output);
      if (found) return found;
      await Promise.race([once(this.#lines, 'line'), ended]);
    }
  }

  /** Resolves when it has ended well. */
  async finished() {
    const [code, signal] = await this.#exited;
    if (code !== 0) throw new Error(`It ended (${signal ?? code}):\n${this.#output}`);
  }

  /** Ends it. Answers with its exit code; null if a signal had to end it. */
  async end(signal = 'SIGTERM') {
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_MS);
    const [code] = await this.#exited;
    clearTimeout(timer);
    return code;
  }
}

/** The installed app. */
export class App {
  #programs = new Set();

  constructor(folder) {
    this.folder = folder;
  }

  /** Packs the package as it is here, and installs the app with it. */
  static async install() {
    const folder = await mkdtemp(join(tmpdir(), 'actory-app-'));
    await mkdir(join(folder, 'bin'));
    for (const tool of TOOLS) await symlink(await realpath(which(tool)), join(folder, 'bin', tool));
    const app = new App(join(folder, 'actory'));
    const dist = join(folder, 'dist');
    await pack({ out: dist, anyBuild: true });
    const registry = await startRegistry(dist);
    try {
      const left = ['node_modules', '.next'].map((name) => join(root, 'examples/actory', name));
      await cp(join(root, 'examples/actory'), app.folder, {
        recursive: true,
        filter: (path) => !left.includes(path),
      });
      await writeFile(join(app.folder, '.npmrc'), registry.npmrc);
      await app.run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']);
    } catch (error) {
      await app.remove();
      throw error;
    } finally {
      await registry.close();
    }
    return app;
  }

  /** Runs a command in the app's folder to its end. */
  async run(command, args, more = {}) {
    await this.#start(command, args, this.folder, more).finished();
  }

  /**
   * Starts a server of the app, and resolves when it listens.
   *
   * @param way - 'dev' or 'start', as `npm run` does; 'standalone', in a standalone folder; 'next start', which has no
   *   custom server
   */
  async serve(way, { folder = this.folder, name, port, redis }) {
    const { args, mode, ready = / is at http/ } = WAYS[way];
    const program = this.#start(process.execPath, args, folder, {
      NODE_ENV: mode,
      HOST: '127.0.0.1',
      PORT: String(port),
      SERVER_NAME: name,
      JWT_SECRET: token.SECRET,
      ...(redis && { REDIS_URL: redis }),
    });
    await program.says(ready);
    return program;
  }

  #start(command, args, cwd, more) {
    const env = {
      ...Object.fromEntries(ofNpm),
      HOME: process.env.HOME,
      PATH: join(this.folder, '../bin'),
      NEXT_TELEMETRY_DISABLED: '1',
      ...more,
    };
    const program = new Program(command, args, { cwd, env });
    this.#programs.add(program);
    return program;
  }

  /** Ends all that runs, and removes the folder. */
  async remove() {
    await Promise.all([...this.#programs].map((program) => program.end('SIGKILL')));
    await rm(join(this.folder, '..'), { recursive: true, force: true });
  }
}
