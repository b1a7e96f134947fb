// node scripts/glibc.mjs 2.17 FILE...: fails if an addon asks for a newer glibc.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Orders versions: 2.5 comes before 2.17. */
export const compareVersions = new Intl.Collator('en', { numeric: true }).compare;

/**
 * The oldest glibc that loads the addon: the newest version among the symbols that it can't do without. Those marked
 * weak are looked for and not missed.
 *
 * @returns {string} such as `2.17`
 */
export function glibcOf(path) {
  const output = execFileSync('readelf', ['--version-info', '--wide', path], { encoding: 'utf8' });
  const versions = [...output.matchAll(/Name: GLIBC_([\d.]+) +Flags: none/g)].map(([, version]) => version);
  return versions.sort(compareVersions).at(-1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [floor, ...paths] = process.argv.slice(2);
  for (const path of paths) {
    const version = glibcOf(path);
    console.log(`${path}: glibc ${version}`);
    if (compareVersions(version, floor) <= 0) continue;
    console.error(`It was to load with glibc ${floor}`);
    process.exitCode = 1;
  }
}
