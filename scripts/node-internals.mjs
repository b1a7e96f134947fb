// node scripts/node-internals.mjs: fails if a shipped file other than lib/node-internals.js touches what Node does not document, and
// names the place.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { root } from './run.mjs';

const HOME = 'lib/node-internals.js';
/** Private by its name: `socket._handle`, `require('_http_common')`, `require('internal/util')`. */
const PRIVATE = /^(node:)?(_(?!_)\w|internal\/)/;
/** Words that Node does not document, as a property or in quotes. */
const UNDOCUMENTED = [
  'assignSocket',
  'binding',
  'detachSocket',
  'getOwnPropertySymbols',
  'onIncoming',
  'parser',
  'shouldKeepAlive',
  'shouldUpgradeCallback',
];
/** The same, where these words mean something else in quotes. */
const PROPERTIES = ['ownKeys', 'server'];
/** Calls that reach a listener of Node's own. */
const LISTENERS = ['listeners', 'rawListeners'];

const literal = (node) => (node !== undefined && ts.isStringLiteralLike(node) ? node.text : undefined);

/** The property that an expression names, or `undefined`. */
function propertyOf(node) {
  if (ts.isPropertyAccessExpression(node)) return node.name.text;
  if (ts.isElementAccessExpression(node)) return literal(node.argumentExpression);
  return undefined;
}

/** The property that `const { property } = object` takes, or `undefined`. */
function takenBy(node) {
  if (!ts.isBindingElement(node) || !ts.isObjectBindingPattern(node.parent)) return undefined;
  return (node.propertyName ?? node.name).text;
}

/** True if a node of the syntax tree touches what Node does not document. */
function touches(node) {
  const property = propertyOf(node);
  if (PROPERTIES.includes(property)) return true;
  const word = property ?? takenBy(node) ?? literal(node);
  if (word !== undefined && (PRIVATE.test(word) || UNDOCUMENTED.includes(word))) return true;
  return (
    ts.isCallExpression(node) &&
    LISTENERS.includes(propertyOf(node.expression)) &&
    literal(node.arguments[0]) === 'connection'
  );
}

/** The lines of a file that do. */
function linesOf(file) {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(root, file), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );
  const lines = new Set();
  const visit = (node) => {
    if (touches(node)) lines.add(source.getLineAndCharacterOfPosition(node.getEnd()).line + 1);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return [...lines];
}

const args = [
  'ls-files',
  '-z',
  '--cached',
  '--others',
  '--exclude-standard',
  'lib',
  'bin',
  'index.js',
  'index.mjs',
];
const files = new Set(execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\0').filter(Boolean));
for (const file of files) {
  if (file === HOME) continue;
  for (const line of linesOf(file)) {
    console.error(`${file}:${line} touches what Node does not document: that belongs into ${HOME}`);
    process.exitCode = 1;
  }
}
console.log(`Looked at ${files.size} files`);
