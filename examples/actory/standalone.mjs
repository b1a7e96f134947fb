// npm run build:standalone: makes .next/standalone a folder that needs no other, for a container: node server.js.
import { cp, readFile } from 'node:fs/promises';
import { build } from 'esbuild';

const folder = '.next/standalone';
const { config } = JSON.parse(await readFile('.next/required-server-files.json', 'utf8'));

// In place of the server.js that Next writes, which has no custom server. As that one, it brings what next.config.ts
// said along, for Next can't read that file there.
await build({
  entryPoints: ['server.ts'],
  outfile: `${folder}/server.js`,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  banner: {
    js: `process.chdir(import.meta.dirname);
process.env.NODE_ENV = 'production';
process.env.__NEXT_PRIVATE_STANDALONE_CONFIG = ${JSON.stringify(JSON.stringify(config))};`,
  },
});
await cp('.next/static', `${folder}/.next/static`, { recursive: true });
