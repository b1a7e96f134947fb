'use strict';

const { spawn } = require('node:child_process');
const { join } = require('node:path');
const { once } = require('node:events');
const { createInterface } = require('node:readline');

/** Runs a program of `__test__/programs` in a Node process of its own. It speaks in lines of text. */
function program(name, { args = [], env = {} } = {}) {
  const file = join(__dirname, '..', 'programs', name);
  const { JWT_SECRET: _secret, REDIS_URL: _url, ...clean } = process.env;
  const child = spawn(process.execPath, [...args, file], {
    env: { ...clean, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text;
  });
  return {
    child,
    /** The next line that it prints. */
    async line() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${name} ended without a line: ${errors}`);
      return value;
    },
    /** How it ended, and what it complained of. */
    exit: once(child, 'close').then(([code, signal]) => ({ code, signal, errors })),
  };
}

module.exports = { program };
