// node --import of this file: tests get the oldest React that the hooks are for.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../../scripts/run.mjs';

const here = join(root, '__test__', 'react', 'eighteen');

/** Has npm install what the lock file names, once. Answers with the folder, in `target`. */
function install() {
  const lock = readFileSync(join(here, 'package-lock.json'));
  const name = createHash('sha256').update(lock).digest('hex').slice(0, 12);
  const folder = join(root, 'target', 'react', name);
  const done = join(folder, 'installed');
  if (existsSync(done)) return folder;
  mkdirSync(folder, { recursive: true });
  for (const file of ['package.json', 'package-lock.json'])
    copyFileSync(join(here, file), join(folder, file));
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  execFileSync('npm', ['ci', ...flags], { cwd: folder });
  writeFileSync(done, '');
  return folder;
}

const parentURL = pathToFileURL(join(install(), 'package.json')).href;
register('./redirect.mjs', { parentURL: import.meta.url, data: { parentURL } });
