// The chat on two servers, with nginx in front of them and Redis between them.
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Part } from './part.mjs';
import { claim, portsFrom, Unfit } from './ports.mjs';
import { which } from './which.mjs';

const HOST = process.env.HOST ?? '127.0.0.1';
const LOOPBACK = '127.0.0.1';

/** The full path of a program. */
function program(command, debianPackage) {
  const path = which(command);
  if (path !== undefined) return path;
  throw new Unfit(
    `Missing on this machine: ${command}. On Debian and Ubuntu: apt-get install ${debianPackage}`,
  );
}

/** Redis on a socket in the folder, so that it takes no port. It keeps nothing on the disk. */
function redis(folder) {
  const path = join(folder, 'redis.sock');
  const args = ['--port', '0', '--unixsocket', path, '--dir', folder, '--save', '', '--appendonly', 'no'];
  return new Part('Redis', { command: program('redis-server', 'redis-server'), args, at: { path } });
}

function server(name, at, env) {
  return new Part(`Server ${name}`, {
    command: process.execPath,
    args: [fileURLToPath(new URL('server.mjs', import.meta.url))],
    env: { ...env, HOST: at.host, PORT: String(at.port), SERVER: name },
    at,
  });
}

function nginx(folder, at, [first, second]) {
  const values = { HOST: at.host, PORT: at.port, SERVER_1: first.port, SERVER_2: second.port };
  const template = readFileSync(new URL('nginx.conf.template', import.meta.url), 'utf8');
  const config = template.replace(/\$\{([A-Z0-9_]+)\}/g, (_, name) => values[name]);
  writeFileSync(join(folder, 'nginx.conf'), config);
  const args = ['-p', `${folder}/`, '-c', 'nginx.conf'];
  return new Part('nginx', { command: program('nginx', 'nginx-light'), args, at });
}

/** The parts, in the order in which they start; they end in the opposite one. */
async function assemble(folder) {
  const [front, ...backs] = await claim([
    ...portsFrom('PORT', [3000]).map((port) => ({ host: HOST, port })),
    ...portsFrom('SERVER_PORTS', [3001, 3002]).map((port) => ({ host: LOOPBACK, port })),
  ]);
  const broker = redis(folder);
  const env = { REDIS_URL: `unix://${broker.at.path}`, JWT_SECRET: randomBytes(32).toString('hex') };
  const servers = backs.map((at, index) => server(String(index + 1), at, env));
  return [broker, ...servers, nginx(folder, front, backs)];
}

function introduce([broker, first, second, front]) {
  const shown = HOST === LOOPBACK ? 'localhost' : HOST;
  const row = ({ name, pid, at }) =>
    `  ${name.padEnd(9)} ${(at.path ?? `port ${at.port}`).padEnd(10)} (process ${pid})`;
  console.log(`The chat is at http://${shown}:${front.at.port}
${[front, first, second, broker].map(row).join('\n')}

Open it twice: each tab says which server it is on, and has a link to the other one.
Then pull a plug: type 1, 2 or redis and Enter to kill that part, and again to start it. Ctrl+C ends everything.`);
}

/** Runs all parts until someone wants them to end, or one ends by itself: then answers with how. */
async function run(parts) {
  let isOver = false;
  const over = new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => resolve(''));
    for (const part of parts) part.onEnd = resolve;
  });
  over.then(() => {
    isOver = true;
  });

  const [broker, first, second] = parts;
  const plugs = { redis: broker, 1: first, 2: second };
  const lines = createInterface({ input: process.stdin });
  try {
    const starting = (async () => {
      for (const part of parts) if (!isOver) await part.start();
    })();
    await Promise.race([over, starting]);
    if (!isOver) introduce(parts);
    let last = Promise.resolve();
    lines.on('line', (line) => {
      const part = Object.hasOwn(plugs, line.trim()) ? plugs[line.trim()] : null;
      if (part === null) return;
      last = last.then(() => toggle(part));
    });
    return await over;
  } finally {
    lines.close();
    for (const part of parts.toReversed()) await part.stop();
  }
}

/** Kills a part without a warning, or starts it again. */
async function toggle(part) {
  if (part.isRunning) {
    await part.stop('SIGKILL');
    console.log(`${part.name} is dead`);
  } else {
    await part.start();
    console.log(`${part.name} is back`);
  }
}

const folder = mkdtempSync(join(tmpdir(), 'actory-demo-'));
// The worker of an nginx that root starts is someone else, and has to get at its folders in there.
chmodSync(folder, 0o711);
try {
  const how = await run(await assemble(folder));
  if (how !== '') {
    console.error(how);
    process.exitCode = 1;
  }
} catch (error) {
  if (!(error instanceof Unfit)) throw error;
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
