// An application in a folder of its own, outside the repository, that has installed the package from its tarballs.
//
// `npm run test:installed -- dist` is the whole of it on the Node that runs it, for the release workflow.
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { start } from '../../scripts/registry.mjs';

const execute = promisify(execFile);

/** A user's first steps with the package: each program prints `echoed`, and ends by itself. */
export const programs = ['require.cjs', 'import.mjs', 'worker.cjs'];

/** The environment without a `PATH`: no compiler, and nothing else either, is found. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(path|node_options)$/i.test(name)),
);

/** Runs a program in the application's folder. */
export function node(folder, args, binary = process.execPath) {
  return execute(binary, args, { cwd: folder, env: { ...env, PATH: '' }, timeout: 120_000 });
}

/**
 * Makes the folder and has npm install the package in it, the way a user does, from the tarballs in `dist`.
 *
 * @param {string} dist
 * @param {string[]} [flags] - more of npm's
 */
export async function createApp(dist, flags = []) {
  const npm = process.env.npm_execpath;
  if (npm === undefined) throw new Error('To be run by npm, whose path it takes from npm_execpath');
  const folder = mkdtempSync(join(tmpdir(), 'actory-websocket-app-'));
  const registry = await start(dist);
  try {
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
    writeFileSync(join(folder, '.npmrc'), registry.npmrc);
    await node(folder, [npm, 'install', '@actory/websocket', 'ws', ...flags]);
    cpSync(join(dirname(fileURLToPath(import.meta.url)), 'programs'), folder, { recursive: true });
    return folder;
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw new Error(`npm install: ${error.message}\n${error.stdout}`, { cause: error });
  } finally {
    await registry.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = await createApp(resolve(process.argv[2]));
  try {
    for (const program of programs) {
      const { stdout } = await node(folder, [program]);
      if (!stdout.startsWith('echoed')) throw new Error(`${program} printed ${stdout}`);
      console.log(`${program}: ${process.platform}-${process.arch}, Node ${process.version}: ok`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}
