// npm run layers: which layer of src/ names which, and where files name each other in a circle. Fails where an import points
// upwards, where a circle grows, where anything but the binding names napi, and where `unsafe` is found outside its file.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './run.mjs';

/** From top to bottom: each may name those below it. Crates (crates/) are kept apart by the compiler. */
const LAYERS = [
  'binding',
  'engine',
  'broker',
  'events',
  'registry',
  'worker',
  'outcome',
  'random_name',
  'time_of_day',
];
/** Most files of a circle, by the layer that it lies in. To be lowered, never raised. A module and a file that it is cut into name each other. */
const CIRCLES = { worker: 25, engine: 5 };
const SMALL = 3;
/** The file that may have `unsafe`, and the number of its blocks. */
const UNSAFE = { file: 'src/worker/socket.rs', blocks: 3 };

const isTest = (path) => /(^|\/)tests(\.rs$|\/)/.test(path);
const listed = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', 'src', 'crates'],
  {
    cwd: root,
    encoding: 'utf8',
  },
);
const paths = listed
  .split('\n')
  .filter((path) => path.endsWith('.rs') && !isTest(path) && existsSync(join(root, path)));

/** A file's code without comments and without its modules of tests, which rustfmt ends with a brace at the line's start. */
function codeOf(path) {
  const code = readFileSync(join(root, path), 'utf8').replace(/\/\/.*$/gm, '');
  return code.replace(/#\[cfg\((all\()?test\b[^\n]*\n(#\[[^\n]*\n)*mod \w+ \{\n[\s\S]*?\n\}/g, '');
}

/** `src/worker/handle/flags.rs` -> ['worker', 'handle', 'flags']. */
const moduleOf = (path) =>
  path
    .replace(/^src\//, '')
    .replace(/(\/mod)?\.rs$/, '')
    .split('/');

/** The paths in a `use` tree: `a::{b, c::{d, e}}` -> a::b, a::c::d, a::c::e. */
function leavesOf(tree) {
  const open = tree.indexOf('{');
  if (open < 0) return [tree.replace(/\s+as\s+\w+$/, '').replace(/\s/g, '')];
  const parts = [];
  let depth = 0;
  let part = '';
  for (const char of tree.slice(open + 1, tree.lastIndexOf('}'))) {
    if (char === '{') depth += 1;
    if (char === '}') depth -= 1;
    if (char === ',' && depth === 0) {
      parts.push(part);
      part = '';
    } else part += char;
  }
  if (part.trim() !== '') parts.push(part);
  return parts.flatMap((each) => leavesOf(tree.slice(0, open) + each.trim()));
}

const code = new Map(paths.map((path) => [path, codeOf(path)]));
const sources = paths.filter((path) => path.startsWith('src/') && path !== 'src/lib.rs');
// A re-export of the root would hide where a name comes from.
if (/\buse\s/.test(code.get('src/lib.rs'))) throw new Error('src/lib.rs: modules only');
const fileOf = new Map(sources.map((path) => [moduleOf(path).join('::'), path]));

/** The file that a path of Rust's leads to, seen from a file; `undefined` for what is no file of src/. */
function resolve(from, path) {
  const words = path.split('::');
  let base = moduleOf(from);
  if (words[0] === 'crate') base = [];
  else if (words[0] !== 'super' && words[0] !== 'self') {
    // A module of its own, as in `use flags::OPEN`.
    if (!fileOf.has([...base, words[0]].join('::'))) return undefined;
    words.unshift('self');
  }
  let at = words[0] === 'super' ? 0 : 1;
  for (; words[at] === 'super'; at += 1) base = base.slice(0, -1);
  const whole = [...base, ...words.slice(at)];
  for (let length = whole.length; length > 0; length -= 1) {
    const file = fileOf.get(whole.slice(0, length).join('::'));
    if (file !== undefined) return file;
  }
  return undefined;
}

/** file -> the files that it names. */
const imports = new Map(
  sources.map((path) => {
    const text = code.get(path);
    const trees = [...text.matchAll(/\buse\s+([^;]+);/g)].flatMap(([, tree]) => leavesOf(tree));
    const inline = text.replace(/\buse\s+[^;]+;/g, '').match(/\b(crate|super)(::\w+)+/g) ?? [];
    const files = [...trees, ...inline].map((named) => resolve(path, named));
    return [path, new Set(files.filter((file) => file !== undefined && file !== path))];
  }),
);

/** Strongly connected components of more than one file (Tarjan 1972). */
function circles() {
  const [index, low, stack, found] = [new Map(), new Map(), [], []];
  const visit = (path) => {
    index.set(path, index.size);
    low.set(path, index.get(path));
    stack.push(path);
    for (const next of imports.get(path)) {
      if (!index.has(next)) visit(next);
      if (stack.includes(next)) low.set(path, Math.min(low.get(path), low.get(next)));
    }
    if (low.get(path) !== index.get(path)) return;
    const circle = stack.splice(stack.indexOf(path));
    if (circle.length > 1) found.push(circle.sort());
  };
  for (const path of sources) if (!index.has(path)) visit(path);
  return found.sort((a, b) => b.length - a.length);
}

const layerOf = (path) => moduleOf(path)[0];
const faults = [];

for (const [path, named] of imports) {
  const from = LAYERS.indexOf(layerOf(path));
  if (from < 0) faults.push(`${path} is in no layer: scripts/layers.mjs names them`);
  for (const file of named) {
    if (LAYERS.indexOf(layerOf(file)) < from) faults.push(`${path} names ${file}, which lies above it`);
  }
}

console.log('layer, files, lines, names');
for (const layer of LAYERS) {
  const own = sources.filter((path) => layerOf(path) === layer);
  const lines = own.reduce((sum, path) => sum + code.get(path).split('\n').length, 0);
  const below = LAYERS.filter(
    (other) =>
      other !== layer && own.some((path) => [...imports.get(path)].some((to) => layerOf(to) === other)),
  );
  console.log(`${layer}, ${own.length}, ${lines}, ${below.join(' ') || '-'}`);
}
for (const circle of circles()) {
  const layer = layerOf(circle[0]);
  console.log(
    `circle of ${circle.length} files in ${layer}: ${circle.map((path) => path.slice(4)).join(' ')}`,
  );
  if (circle.length > (CIRCLES[layer] ?? SMALL))
    faults.push(`a circle in ${layer} has ${circle.length} files`);
}

for (const [path, text] of code) {
  if (!path.startsWith('src/binding/') && /\bnapi(_derive)?::/.test(text)) faults.push(`${path} names napi`);
  const blocks = text.match(/\bunsafe\s*(\{|fn\b|impl\b)/g)?.length ?? 0;
  if (blocks > (path === UNSAFE.file ? UNSAFE.blocks : 0)) faults.push(`${path} has ${blocks} unsafe blocks`);
}

for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
