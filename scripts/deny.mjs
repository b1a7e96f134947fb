// npm run test:deny [-- CHECK…]: cargo-deny holds the dependencies to deny.toml. By default what can be checked wherever crates come
// from; `-- all` asks for advisories too, whose database is a repository on github.com. The first run builds cargo-deny, for minutes.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkCargo, installPackages, LINKER, Missing } from './prepare.mjs';
import { root, run } from './run.mjs';

/** Pinned, so that a run fetches nothing new by itself. */
const VERSION = '0.20.2';

/** Builds cargo-deny below `target`, if it isn't there. Answers with its path. */
async function installDeny() {
  checkCargo();
  await installPackages([LINKER]);
  const folder = join(root, 'target', 'tools', `cargo-deny-${VERSION}`);
  const command = join(folder, 'bin', 'cargo-deny');
  if (existsSync(command)) return command;
  console.log(`Building cargo-deny ${VERSION}, which takes some minutes`);
  const install = ['install', 'cargo-deny', '--locked', '--version', VERSION, '--root', folder];
  const { ok, reason } = await run('cargo', install, { timeoutMs: 3_600_000 });
  if (!ok) throw new Missing(`cargo-deny could not be built: ${reason}`);
  return command;
}

const checks = process.argv.slice(2);
try {
  const command = await installDeny();
  const what = checks.length === 0 ? ['bans', 'licenses', 'sources'] : checks;
  const { ok } = await run(command, ['--locked', 'check', ...what]);
  process.exitCode = ok ? 0 : 1;
} catch (error) {
  if (!(error instanceof Missing)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
