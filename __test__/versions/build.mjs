import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root, run } from '../../scripts/run.mjs';

const execute = promisify(execFile);

/** Builds stay here: crates of the registry take most of the time, and versions have most of them in common. */
const cache = join(root, 'target', 'versions');

/** The parts that the tests need: what is required, and the client code in the README. */
const PARTS = ['index.js', 'lib', 'package.json', 'browser.js', 'README.md'];
const isOfPackage = (name) => PARTS.includes(name) || name.endsWith('.node');

/**
 * Builds the package as it was at a commit of this repository's history, unless it is built.
 *
 * @returns {Promise<string>} its folder, to be required
 * @throws if the history here doesn't reach back to the commit, or the build fails
 */
export async function build(hash) {
  const built = join(cache, hash);
  if (existsSync(built)) return built;
  try {
    await execute('git', ['cat-file', '-e', `${hash}^{commit}`], { cwd: root });
  } catch {
    throw new Error(`commit ${hash} is not in this clone; a shallow one needs: git fetch --unshallow`);
  }
  // Outside of the repository: cargo would take it for a part of its workspace.
  const source = await mkdtemp(join(tmpdir(), 'actory-version-'));
  try {
    const archive = join(source, 'source.tar');
    await execute('git', ['archive', `--output=${archive}`, hash], { cwd: root });
    await execute('tar', ['-xf', archive, '-C', source]);
    await symlink(join(root, 'node_modules'), join(source, 'node_modules'));
    const { ok, reason, output } = await run('npm', ['run', '--silent', 'build:debug', '--prefix', source], {
      env: { CARGO_TARGET_DIR: join(cache, 'target') },
      quiet: true,
    });
    if (!ok) throw new Error(`commit ${hash} could not be built: ${reason}\n${output}`);
    // Under its name only when it is whole.
    const whole = `${built}.${process.pid}`;
    await mkdir(whole, { recursive: true });
    for (const name of (await readdir(source)).filter(isOfPackage)) {
      await cp(join(source, name), join(whole, name), { recursive: true });
    }
    await rename(whole, built);
  } finally {
    await rm(source, { recursive: true, force: true });
  }
  return built;
}
