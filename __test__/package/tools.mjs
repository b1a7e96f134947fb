// Package managers and process managers that the tests try the package with, from npm.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../../scripts/run.mjs';

const execute = promisify(execFile);

/** Pinned, so that a test run fetches nothing new by itself. */
const TOOLS = {
  pm2: 'pm2@7.0.4',
  pnpm: 'pnpm@10.34.8',
  yarn: 'yarn@1.22.22',
  berry: '@yarnpkg/cli-dist@4.18.1',
};

/**
 * Installs a tool below `target`, if it isn't there.
 *
 * @param {keyof typeof TOOLS} name
 * @returns {Promise<string>} the folder of its commands
 */
export async function installTool(name) {
  const folder = join(root, 'target', 'tools', TOOLS[name].replaceAll('/', '-'));
  const bin = join(folder, 'node_modules', '.bin');
  if (!existsSync(bin)) {
    const args = ['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--no-audit', TOOLS[name]];
    await execute('npm', args, { cwd: root });
  }
  return bin;
}
