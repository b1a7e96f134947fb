import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { which } from '../examples/demo/which.mjs';
import { root, run } from './run.mjs';

/** Something that is missing and that a person has to see to. */
export class Missing extends Error {}

export { which };

/**
 * The needs of a machine beside Node, npm and cargo: a command that shows it is there, and its Debian packages; `service`
 * where those also start one, which nobody asked for.
 */
export const LINKER = { commands: ['cc'], packages: ['gcc', 'libc6-dev'], use: 'linking Rust' };
export const OPENSSL = { commands: ['openssl'], packages: ['openssl'], use: 'the keys of the tests' };
export const JQ = {
  commands: ['jq'],
  packages: ['jq'],
  use: "the release workflow's last step, which is tested",
};
export const CHROMIUM = {
  commands: ['chromium', 'chromium-browser', 'google-chrome'],
  packages: ['chromium'],
  use: "the demo's end-to-end test",
};
export const REDIS = {
  commands: ['redis-server'],
  packages: ['redis-server'],
  use: 'several servers',
  service: 'redis-server',
};
export const NGINX = {
  commands: ['nginx'],
  packages: ['nginx-light'],
  use: 'several servers behind one address',
  service: 'nginx',
};
export const HAPROXY = {
  commands: ['haproxy'],
  packages: ['haproxy'],
  use: 'the load balancer tests',
  service: 'haproxy',
};

const lacks = ({ commands }) => !commands.some((command) => which(command));

/**
 * Installs the Debian packages of those needs that are not met.
 *
 * @throws {Missing} if one can't be
 */
export async function installPackages(needs) {
  const missing = needs.filter(lacks);
  if (missing.length === 0) return;
  const packages = missing.flatMap((need) => need.packages);
  const list = packages.join(' ');
  const by = missing.map(({ commands, use }) => `${commands[0]} (for ${use})`).join(', ');
  const help = `Missing on this machine: ${by}. On Debian and Ubuntu: apt-get install ${list}`;
  if (!which('apt-get')) throw new Missing(help);
  const asRoot = process.getuid() === 0;
  if (!asRoot && !which('sudo')) throw new Missing(`${help} (not root, and there is no sudo)`);

  console.log(`Installing ${list}, for ${missing.map(({ use }) => use).join(' and ')}`);
  const administer = (...words) => {
    const [command, ...args] = asRoot ? words : ['sudo', '-n', ...words];
    return run(command, args, { quiet: true });
  };
  const aptGet = (...args) => administer('env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args);
  await aptGet('update');
  const result = await aptGet('install', '-y', '--no-install-recommends', ...packages);
  if (!result.ok || missing.some(lacks)) {
    throw new Missing(
      `${help}\napt-get: ${result.reason}\n${result.output.trim().split('\n').slice(-5).join('\n')}`,
    );
  }
  for (const { service } of missing) if (service !== undefined) await stopService(service, administer);
}

/** Stops what a package has started by itself, and keeps it from starting with the machine. */
async function stopService(service, administer) {
  if (existsSync('/run/systemd/system')) await administer('systemctl', 'disable', '--now', service);
  else await administer('service', service, 'stop');
}

/** @throws {Missing} if there is no cargo */
export function checkCargo() {
  if (which('cargo')) return;
  throw new Missing(
    'Missing on this machine: cargo. The package is built from Rust 1.88 or later (https://rustup.rs)',
  );
}

/** Adds rustfmt and clippy where rustup runs the toolchain; tells which of them are still missing. */
export async function installRustComponents() {
  const missing = async () => {
    const rows = [];
    for (const [component, subcommand] of [
      ['rustfmt', 'fmt'],
      ['clippy', 'clippy'],
    ]) {
      if (!(await run('cargo', [subcommand, '--version'], { quiet: true })).ok) rows.push(component);
    }
    return rows;
  };
  const components = await missing();
  if (components.length === 0 || !which('rustup')) return components;
  console.log(`Adding ${components.join(' and ')} to the Rust toolchain`);
  await run('rustup', ['component', 'add', ...components], { quiet: true });
  return missing();
}

/** `npm ci`, if there are no node_modules or the lock is newer. */
export async function installNodeModules() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  if (
    existsSync(installed) &&
    statSync(installed).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs
  ) {
    return;
  }
  console.log('Installing the npm packages (npm ci)');
  const { ok, output, reason } = await run('npm', ['ci', '--no-fund', '--no-audit'], { quiet: true });
  if (!ok) throw new Missing(`npm ci failed: ${reason}\n${output}`);
}

/** The newest change under a path, folders included, so that a file that went away counts as well. */
function newest(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

/** True if an addon for this machine is there and nothing that it is built from is newer. */
export function addonIsBuilt() {
  const prefix = `actory-websocket.${process.platform}-${process.arch}`;
  const addons = readdirSync(root).filter((name) => name.startsWith(prefix) && name.endsWith('.node'));
  const built = Math.max(0, ...addons.map((name) => newest(join(root, name))));
  const sources = ['Cargo.toml', 'Cargo.lock', 'build.rs', 'crates', 'src'];
  return built > Math.max(...sources.map((name) => newest(join(root, name))));
}

/**
 * All that it takes to `require` the package from a clean clone: npm packages, a linker, the addon.
 *
 * @throws {Missing} if that can't be had
 */
export async function prepareAddon() {
  checkCargo();
  await installPackages([LINKER]);
  await installNodeModules();
  if (addonIsBuilt()) return;
  console.log('Building the addon (npm run build:debug); the first time takes some minutes');
  const { ok, reason } = await run('npm', ['run', '--silent', 'build:debug']);
  if (!ok) throw new Missing(`The addon could not be built: ${reason}`);
}
