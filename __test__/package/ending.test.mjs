// The end of an installed server as people bring it about: with pm2, through npm, with Ctrl+C, on each Node.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { pack } from '../../scripts/pack.mjs';
import { root } from '../../scripts/run.mjs';
import redisServer from '../support/redis-server.js';
import { createApp } from './app.mjs';
import { majors, nodeBinary } from './nodes.mjs';
import { installTool } from './tools.mjs';

const execute = promisify(execFile);
const CLIENTS = 40;
const folders = [];
let app;

before(async () => {
  const dist = mkdtempSync(join(tmpdir(), 'actory-websocket-dist-'));
  folders.push(dist);
  await pack({ out: dist, anyBuild: true });
  app = await createApp(dist);
  folders.push(app);
  const manifest = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8'));
  writeFileSync(
    join(app, 'package.json'),
    JSON.stringify({ ...manifest, scripts: { start: 'node drain.mjs' } }),
  );
});

after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** Open clients. Resolves with a function that answers with how often each close code came. */
async function clients(port) {
  const sockets = Array.from(
    { length: CLIENTS },
    () => new WebSocket(`ws://127.0.0.1:${port}/api/websocket`),
  );
  const closed = sockets.map((socket) => once(socket, 'close'));
  await Promise.all(sockets.map((socket) => once(socket, 'open')));
  return async () => {
    const counts = {};
    for (const [code] of await Promise.all(closed)) counts[code] = (counts[code] ?? 0) + 1;
    return counts;
  };
}

/** Runs the program by a command, in a process group of its own, as a terminal does. */
async function start(command, args) {
  const port = await redisServer.freePort();
  const env = { ...process.env, PORT: String(port) };
  const child = spawn(command, args, { cwd: app, env, stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  const exit = once(child, 'close');
  while (!/^ready$/m.test(said)) await once(child.stdout, 'data');
  return { child, exit, port };
}

for (const major of majors) {
  test(`on Node ${major}: at SIGTERM and at SIGINT`, async () => {
    const binary = await nodeBinary(major);
    for (const signal of ['SIGTERM', 'SIGINT']) {
      const { child, exit, port } = await start(binary, ['drain.mjs']);
      const closed = await clients(port);
      child.kill(signal);
      assert.deepEqual(await closed(), { 1012: CLIENTS });
      assert.deepEqual(await exit, [0, null]);
    }
  });
}

test('by Ctrl+C, which the server gets from the terminal and again from npm', async () => {
  const { child, exit, port } = await start(process.execPath, [process.env.npm_execpath, 'start']);
  const closed = await clients(port);
  process.kill(-child.pid, 'SIGINT');
  assert.deepEqual(await closed(), { 1012: CLIENTS });
  await exit;
});

describe('with pm2', () => {
  let env;
  let pm2;

  before(async () => {
    const bin = await installTool('pm2');
    const home = mkdtempSync(join(tmpdir(), 'actory-websocket-pm2-'));
    folders.push(home);
    // The daemon lives in there, and is nobody else's.
    env = {
      ...process.env,
      PM2_HOME: home,
      PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    };
    pm2 = (...args) => execute(join(bin, 'pm2'), args, { cwd: app, env, timeout: 60_000 });
  });

  after(() => pm2('kill'));

  for (const [mode, flags] of [
    ['fork mode', []],
    ['cluster mode', ['-i', '2']],
  ]) {
    for (const command of ['stop', 'restart']) {
      test(`as it is by default: ${mode}, pm2 ${command}`, async () => {
        const port = await redisServer.freePort();
        env.PORT = String(port);
        await pm2('start', 'drain.mjs', '--name', 'server', ...flags);
        while (!(await fetch(`http://127.0.0.1:${port}`).catch(() => null)));
        const closed = await clients(port);
        await pm2(command, 'server');
        assert.deepEqual(await closed(), { 1012: CLIENTS });
        await pm2('delete', 'server');
      });
    }
  }

  test('as in deploy: waits for a client that is asleep, and for onClosed', async () => {
    const port = await redisServer.freePort();
    env.PORT = String(port);
    copyFileSync(join(root, 'deploy', 'ecosystem.config.cjs'), join(app, 'ecosystem.config.cjs'));
    copyFileSync(join(app, 'drain.mjs'), join(app, 'server.mjs'));
    rmSync(join(app, 'closed'), { force: true });
    await pm2('start', 'ecosystem.config.cjs');
    while (!(await fetch(`http://127.0.0.1:${port}`).catch(() => null)));
    const asleep = connect(port, '127.0.0.1').on('error', () => {});
    const key = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==';
    asleep.write(
      `GET /api/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${key}\r\n\r\n`,
    );
    await once(asleep, 'data');
    await pm2('stop', 'server');
    assert.ok(existsSync(join(app, 'closed')));
    asleep.destroy();
    await pm2('delete', 'server');
  });
});
