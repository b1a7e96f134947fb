// A folder in which recipes run: what they are made of, from npm, and this package.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../../scripts/run.mjs';
import { blocks, section } from '../support/readme.mjs';

const { freePort } = createRequire(import.meta.url)('../support/redis-server.js');
const MANIFESTS = ['package.json', 'package-lock.json'];
const here = join(root, '__test__', 'recipes');

/** Of the tests: no recipe has another one. */
export const SECRET = 'a secret of the recipes, 32 bytes or more';

/** Has npm install what the lock file names, once. Answers with the folder, in `target`, beside nothing that is ours. */
async function install() {
  const lock = readFileSync(join(here, 'package-lock.json'));
  const folder = join(
    root,
    'target',
    'recipes',
    createHash('sha256').update(lock).digest('hex').slice(0, 12),
  );
  const done = join(folder, 'installed');
  if (existsSync(done)) return folder;
  mkdirSync(folder, { recursive: true });
  for (const name of MANIFESTS) copyFileSync(join(here, name), join(folder, name));
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  await promisify(execFile)('npm', ['ci', ...flags], { cwd: folder });
  mkdirSync(join(folder, 'node_modules', '@actory'));
  symlinkSync(root, join(folder, 'node_modules', '@actory', 'websocket'), 'dir');
  writeFileSync(done, '');
  return folder;
}

/** Runs recipes of docs/recipes.md; what they leave goes with it. */
export class Kitchen {
  #folder;
  #dishes = [];

  async open() {
    this.#folder = await install();
  }

  /** An empty folder, beside what is installed. */
  folder() {
    const folder = mkdtempSync(join(this.#folder, 'recipe-'));
    this.#dishes.push(() => rmSync(folder, { recursive: true }));
    return folder;
  }

  /** Writes the blocks of a section into a folder of their own, and answers with it. */
  lay(heading) {
    const folder = this.folder();
    for (const { file, code } of blocks(section(join(root, 'docs', 'recipes.md'), heading))) {
      writeFileSync(join(folder, file), code);
    }
    return folder;
  }

  /** Runs a command of Node's in a folder. `exit` has how it ended, and all that it printed. */
  run(folder, args, env = {}) {
    const { REDIS_URL: _redis, AUTH_URL: _auth, NODE_OPTIONS: _options, ...clean } = process.env;
    const child = spawn(process.execPath, args, {
      cwd: folder,
      env: { ...clean, NO_COLOR: '1', JWT_SECRET: SECRET, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    const exit = once(child, 'close').then(([code, signal]) => ({ code, signal, output }));
    this.#dishes.push(() => {
      child.kill('SIGKILL');
      return exit;
    });
    return { child, exit };
  }

  /** Runs a server, and resolves when its routes answer. */
  async serve(folder, args, env = {}) {
    const port = await freePort();
    const url = `http://localhost:${port}`;
    // Without Redis on purpose, so it is quiet about that.
    const quiet = '--disable-warning=ACTORY_WS_SINGLE_SERVER';
    const { child, exit } = this.run(folder, [quiet, ...args], { PORT: String(port), ...env });
    let ended;
    exit.then(({ output }) => {
      ended = output;
    });
    while (!(await fetch(url).catch(() => {}))) {
      if (ended !== undefined) throw new Error(`${args.join(' ')} ended:\n${ended}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return { child, exit, port, url };
  }

  async close() {
    for (const close of this.#dishes.splice(0).reverse()) await close();
  }
}
