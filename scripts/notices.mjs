// The licences of all that is linked into an addon: what THIRD-PARTY-NOTICES.txt in the package of a platform says.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { root } from './run.mjs';

const execute = promisify(execFile);

const LICENCE_FILE = /^(licen[cs]e|unlicense|copying|copyright|notice)([-_][\w.-]+)?(\.(md|txt))?$/i;
/** Files that may lie beside a licence and are none. */
const NOTICE_FILE = /^(copyright|notice)/i;

/** No crate, and linked into each addon. */
const STANDARD_LIBRARY = {
  name: 'The Rust standard library',
  license: 'MIT OR Apache-2.0',
  authors: ['The Rust Project Contributors'],
  repository: 'https://github.com/rust-lang/rust',
  files: [],
};

const titleOf = ({ name, version }) => (version === undefined ? name : `${name} ${version}`);

async function cargo(...args) {
  const { stdout } = await execute('cargo', args, { cwd: root, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** Texts of the licence files in a folder and below it: what a crate has from others lies below. */
function licenceFiles(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((path) => LICENCE_FILE.test(basename(path)) && !path.endsWith('.rs'))
    .sort()
    .map((path) => ({
      name: basename(path),
      text: readFileSync(join(folder, path), 'utf8').replaceAll('\r', '').trim(),
    }));
}

/**
 * The crates of others that are linked into the release addon for `target`. Dependencies of tests and builds are none, and
 * neither are macros. `cargo tree` knows them: `cargo metadata` adds what the tests ask of the same crates.
 */
async function linkedCrates(target) {
  const tree = ['tree', '--locked', '--target', target, '--edges', 'normal,no-proc-macro'];
  const metadata = ['metadata', '--locked', '--filter-platform', target, '--format-version', '1'];
  const [list, details] = await Promise.all([
    cargo(...tree, '--prefix', 'none', '--format', '{p}'),
    cargo(...metadata),
  ]);
  const linked = new Set(list.split('\n').map((line) => line.split(' ').slice(0, 2).join(' ')));
  return JSON.parse(details)
    .packages.filter(({ name, version, source }) => source !== null && linked.has(`${name} v${version}`))
    .map((crate) => ({ ...crate, files: licenceFiles(dirname(crate.manifest_path)) }));
}

/** The texts that are the same for everybody, from crates that have them: by name of the licence. */
function standardTexts(crates) {
  const find = (file, beginning) => {
    for (const { name, text } of crates.flatMap(({ files }) => files)) {
      if (name === file && text.includes(beginning)) return text.slice(text.indexOf(beginning));
    }
    throw new Error(`No crate has the text of its licence in ${file}`);
  };
  return {
    MIT: find('LICENSE-MIT', 'Permission is hereby granted'),
    'Apache-2.0': find('LICENSE-APACHE', 'Apache License'),
  };
}

/**
 * The texts of a crate's licences: those in its sources, or else the standard ones of the licences that it names.
 *
 * @param {{ name: string, version?: string, license: string | null, authors: string[], files: { text: string }[] }} crate
 * @param {Record<string, string>} standard - texts by SPDX name
 * @returns {string[]}
 * @throws {Error} if there are neither
 */
export function textsOf(crate, standard) {
  const texts = crate.files.map(({ text }) => text);
  if (crate.files.some(({ name }) => !NOTICE_FILE.test(name ?? ''))) return texts;
  const named = (crate.license ?? '').split(/ OR |\//).filter((name) => Object.hasOwn(standard, name));
  if (named.length === 0) {
    throw new Error(
      `${titleOf(crate)} can't be shipped: its sources have no licence file, and its licence ` +
        `(${crate.license ?? 'none'}) is none of ${Object.keys(standard).join(', ')}`,
    );
  }
  const authors = crate.authors.join(', ') || `The authors of ${crate.name}`;
  return texts.concat(named.map((name) => `${name}\n\nCopyright (c) ${authors}\n\n${standard[name]}`));
}

/**
 * The part of THIRD-PARTY-NOTICES.txt on the addon for a target.
 *
 * @param {string} target - as Rust names it, such as `x86_64-unknown-linux-gnu`
 * @returns {Promise<string>} each crate with its version and licence, then each text once
 * @throws {Error} if the licence of a crate can't be told, or cargo fails
 */
export async function notices(target) {
  const crates = await linkedCrates(target);
  const standard = standardTexts(crates);
  const parts = [...crates, STANDARD_LIBRARY];
  const owners = new Map();
  for (const part of parts) {
    for (const text of textsOf(part, standard)) {
      // Crates break the lines of the same text in different places.
      const key = text.replaceAll(/\s+/g, ' ');
      const section = owners.get(key) ?? { text, titles: new Set() };
      section.titles.add(titleOf(part));
      owners.set(key, section);
    }
  }
  const list = parts.map((part) => {
    const from = part.repository ?? part.homepage ?? `https://crates.io/crates/${part.name}`;
    return `  ${titleOf(part)}: ${part.license ?? 'see below'}, ${from}`;
  });
  const sections = [...owners.values()].map(
    ({ text, titles }) => `${'='.repeat(80)}\n${[...titles].join(', ')}\n${'='.repeat(80)}\n\n${text}\n`,
  );
  return `The addon for ${target} contains:\n\n${list.join('\n')}\n\n${sections.join('\n')}`;
}
