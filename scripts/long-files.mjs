// node scripts/long-files.mjs: fails if a source file has more than 500 lines, and names it.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './run.mjs';

const MOST = 500;
const SOURCE = /\.([cm]?[jt]s|[jt]sx|rs)$/;
/** One reference for readers of the package, and what is written by programs. */
const EXEMPT = ['index.d.ts', 'native.d.ts', 'browser.mjs', 'browser.js'];

/** Number of lines of a text, the last one also without a line break. */
const linesOf = (text) => text.split('\n').length - (text.endsWith('\n') ? 1 : 0);

// Also those that are new and not yet committed, but nothing that is ignored.
const listed = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
const files = execFileSync('git', listed, { cwd: root, encoding: 'utf8' }).split('\0');
// Git lists one that is gone until that is committed.
const isSource = (file) => SOURCE.test(file) && !EXEMPT.includes(file) && existsSync(join(root, file));
const sources = [...new Set(files)].filter(isSource);

for (const file of sources) {
  const lines = linesOf(readFileSync(join(root, file), 'utf8'));
  if (lines <= MOST) continue;
  console.error(`${file} has ${lines} lines, and ${MOST} are the most: cut it where a second noun begins`);
  process.exitCode = 1;
}
console.log(`Looked at ${sources.length} files`);
