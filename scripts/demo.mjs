// npm run demo, npm run demo:cluster: from a clean clone to a running chat.
import { installPackages, Missing, NGINX, prepareAddon, REDIS } from './prepare.mjs';

const [kind = 'server'] = process.argv.slice(2);
try {
  if (kind === 'cluster') await installPackages([REDIS, NGINX]);
  await prepareAddon();
} catch (error) {
  if (!(error instanceof Missing)) throw error;
  console.error(error.message);
  process.exit(1);
}
await import(`../examples/demo/${kind}.mjs`);
