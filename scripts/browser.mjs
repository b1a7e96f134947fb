// node scripts/browser.mjs: writes browser.mjs, and browser.js, which is the same for `require`, from the addon's catalogue.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './run.mjs';

const require = createRequire(import.meta.url);

/** All that the package exports, as biome sorts it. */
const NAMES = [
  'CloseCode',
  'closeAdvice',
  'ErrorCode',
  'getWebSocketManager',
  'RedisPubSub',
  'RequestError',
  'shutdownOnSignals',
  'UpgradeRefusal',
  'WebSocketManager',
];

/** The text of both files. */
export function browserFiles() {
  const { closeCodes, errorCodes } = require('../lib/native.js').catalogue();
  const body = `// Written by scripts/browser.mjs: what bundles for browsers and edge runtimes get, for those have no addon. A page without a bundler
// can load browser.mjs as it is.

/** The close codes of the package by name, and what a client should do after each. */
const CODES = {
${closeCodes.map(({ name, code, advice }) => `  ${name}: [${code}, '${advice}'],`).join('\n')}
};

/** Every close code the package knows, by name: \`CloseCode.SLOW_CONSUMER === 4004\`. Documented in index.d.ts. */
const CloseCode = Object.freeze(
  Object.fromEntries(Object.entries(CODES).map(([name, [code]]) => [name, code])),
);

const advice = new Map(Object.values(CODES));

/** A refusal for now: an UpgradeRefusal closes with 4000 plus its status by default, and 429 and those from 500 ask to come later. */
const isLater = (code) => code === 4429 || (code >= 4500 && code < 4600);

/** Advice to a client after a close code: 'reconnect', 'refresh' or 'stop'. Documented in index.d.ts. */
function closeAdvice(code, opened = true) {
  if (code === CloseCode.ABNORMAL && !opened) return 'refresh';
  return advice.get(code) ?? (isLater(code) ? 'reconnect' : 'stop');
}

/** Every error code of the package, by itself. Documented in index.d.ts. */
const ErrorCode = Object.freeze(
  Object.fromEntries(
    [
${errorCodes.map(({ code }) => `      '${code}',`).join('\n')}
    ].map((code) => [code, code]),
  ),
);

/** The error of a call that needs Node. */
function wrongRuntime(name) {
  const error = new Error(
    \`\${name} of @actory/websocket needs Node.js, and this is the package's copy for browsers and edge runtimes. \` +
      'In a Next.js route or middleware, say export const runtime = "nodejs"; in a client component, ' +
      'import only CloseCode, closeAdvice and ErrorCode, and connect with new WebSocket(url); in a test, take the ' +
      'environment "node", not jsdom',
  );
  error.code = ErrorCode.ERR_WRONG_RUNTIME;
  return error;
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
class WebSocketManager {
  constructor() {
    throw wrongRuntime('WebSocketManager');
  }
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
class RedisPubSub {
  constructor() {
    throw wrongRuntime('RedisPubSub');
  }
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
class RequestError {
  constructor() {
    throw wrongRuntime('RequestError');
  }
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
class UpgradeRefusal {
  constructor() {
    throw wrongRuntime('UpgradeRefusal');
  }
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
function getWebSocketManager() {
  throw wrongRuntime('getWebSocketManager');
}

/** Needs Node: throws ERR_WRONG_RUNTIME. */
function shutdownOnSignals() {
  throw wrongRuntime('shutdownOnSignals');
}
`;
  const names = NAMES.map((name) => `  ${name},`).join('\n');
  return {
    'browser.mjs': `${body}\nexport {\n${names}\n};\n`,
    'browser.js': `'use strict';\n\n${body}\nmodule.exports = {\n${names}\n};\n`,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of Object.entries(browserFiles())) writeFileSync(join(root, name), text);
}
