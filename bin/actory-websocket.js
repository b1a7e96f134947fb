#!/usr/bin/env node
'use strict';

const { parseArgs } = require('node:util');
const { standalone } = require('../lib/standalone');

const USAGE = `Usage: actory-websocket standalone [SERVER] [--dist FOLDER]

After "next build" with output: 'standalone': makes the standalone folder run your custom server.
SERVER is its file, server.ts (or .mts, .js, .mjs) by default; FOLDER what next.config says as distDir, .next by default.
Run it in the folder of the application.`;

async function main() {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean', short: 'h' }, dist: { type: 'string' } },
    allowPositionals: true,
  });
  const [command, entry, ...rest] = positionals;
  if (values.help) return console.log(USAGE);
  if (command !== 'standalone' || rest.length > 0) throw new Error(USAGE);
  const { folder, server } = await standalone(process.cwd(), { entry, dist: values.dist });
  console.log(`${folder} is complete. What starts it in there: node ${server}`);
}

main().catch((error) => {
  console.error(error.message);
  if (error.cause !== undefined) console.error('Cause:', error.cause);
  process.exitCode = 1;
});
