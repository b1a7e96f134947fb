// npm run demo: from a clean clone to a running chat.
import { Missing, prepareAddon } from './prepare.mjs';

try {
  await prepareAddon();
} catch (error) {
  if (!(error instanceof Missing)) throw error;
  console.error(error.message);
  process.exit(1);
}
await import('../examples/demo/server.mjs');
