'use strict';

const { spawn } = require('node:child_process');
const { join } = require('node:path');
const { once } = require('node:events');
const { createInterface } = require('node:readline');
const { closeAfterwards } = require('./cleanup');

/** Runs a command that speaks in lines of text. It ends with the test, if not before. */
function run(command, args, env = process.env) {
  const child = spawn(command, args, { env, stdio: 'pipe' });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text;
  });
  child.stdin.on('error', () => {});
  const exit = once(child, 'close').then(([code, signal]) => ({ code, signal, errors }));
  closeAfterwards(() => {
    child.kill('SIGKILL');
    return exit;
  });
  return {
    child,
    /** The next line that it prints. */
    async line() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${command} ended without a line: ${errors}`);
      return value;
    },
    /** Writes a line to its standard input. */
    say: (text) => child.stdin.write(`${text}\n`),
    /** Its end, and its complaints. */
    exit,
  };
}

/** Runs a program of `__test__/programs` in a Node process of its own. */
function program(name, { args = [], env = {} } = {}) {
  const file = join(__dirname, '..', 'programs', name);
  const { JWT_SECRET: _secret, REDIS_URL: _url, ...clean } = process.env;
  return run(process.execPath, [...args, file], { ...clean, ...env });
}

module.exports = { run, program };
