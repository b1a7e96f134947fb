'use strict';

const net = require('node:net');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { chmod, mkdtemp, readFile, rm, writeFile } = require('node:fs/promises');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { freePort } = require('./redis-server');

/** Load balancers by name: their configuration in `deploy`, how they run in the foreground, and where they listen. */
const BALANCERS = {
  nginx: {
    file: 'nginx.conf',
    command: (folder) => ['nginx', '-p', `${folder}/`, '-c', 'nginx.conf', '-g', 'daemon off;'],
    listen: { written: 'listen 3000;', on: (port) => `listen 127.0.0.1:${port};` },
  },
  haproxy: {
    file: 'haproxy.cfg',
    command: (folder) => ['haproxy', '-db', '-f', join(folder, 'haproxy.cfg')],
    listen: { written: 'bind :3000', on: (port) => `bind 127.0.0.1:${port}` },
  },
};

/** The configuration as it is, but for its ports. */
async function configure({ file, listen }, port, servers) {
  const text = await readFile(join(__dirname, '..', '..', 'deploy', file), 'utf8');
  const replacements = new Map([
    [listen.written, listen.on(port)],
    ['127.0.0.1:3001', `127.0.0.1:${servers[0]}`],
    ['127.0.0.1:3002', `127.0.0.1:${servers[1]}`],
  ]);
  for (const written of replacements.keys()) {
    if (!text.includes(written)) throw new Error(`${file} has no ${written}`);
  }
  // All in one pass: a port just put in may begin with one that is to be replaced, as 30014 does with 3001.
  return text.replace(new RegExp([...replacements.keys()].join('|'), 'g'), (written) =>
    replacements.get(written),
  );
}

/**
 * Runs a load balancer with its configuration from `deploy` in front of servers on these two ports. Answers with its
 * port once it listens, and with what ends it.
 */
async function startBalancer(name, servers) {
  const balancer = BALANCERS[name];
  const folder = await mkdtemp(join(tmpdir(), `actory-${name}-`));
  // The workers of an nginx that root starts are someone else, and have to get at their folders in there.
  await chmod(folder, 0o711);
  const port = await freePort();
  await writeFile(join(folder, balancer.file), await configure(balancer, port, servers));

  // It ends with this process, however that ends, and takes its workers along.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...balancer.command(folder)], {
    // Debian has servers in a folder that is on the path of root alone.
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const gone = once(child, 'close');
  const close = async () => {
    child.kill('SIGTERM');
    await gone;
    await rm(folder, { recursive: true, force: true });
  };
  while (!(await isListening(port))) {
    if (child.exitCode !== null) {
      await close();
      throw new Error(`${name} did not start:\n${output}`);
    }
    await sleep(10);
  }
  return { port, close };
}

async function isListening(port) {
  const socket = net.connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

module.exports = { startBalancer };
