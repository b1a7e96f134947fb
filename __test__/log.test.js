'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { closeAfterwards } = require('./support/cleanup');
const { connect } = require('./support/client');
const { program, run } = require('./support/program');

const { O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;

async function withClients(server) {
  const port = Number(await server.line());
  return { ...server, client: () => connect(`ws://127.0.0.1:${port}/one?token=hunter2`) };
}

/** A process with a server that tells what `log` asks for. */
const logging = (log) => withClients(program('ending.js', { env: { ACTORY_WEBSOCKET_LOG: log } }));

/** A pipe that is full, and what reads it. */
function fullPipe() {
  const folder = fs.mkdtempSync(join(tmpdir(), 'log-'));
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  const reader = fs.openSync(path, O_RDONLY | O_NONBLOCK);
  closeAfterwards(() => {
    fs.closeSync(reader);
    fs.rmSync(folder, { recursive: true });
  });
  const writer = fs.openSync(path, O_WRONLY | O_NONBLOCK);
  try {
    for (;;) fs.writeSync(writer, ' '.repeat(4096));
  } catch {
    fs.closeSync(writer);
  }
  const chunk = Buffer.alloc(65_536);
  const read = () => {
    try {
      return chunk.toString('utf8', 0, fs.readSync(reader, chunk));
    } catch {
      return '';
    }
  };
  return { path, read };
}

async function end({ child, exit }) {
  child.kill('SIGTERM');
  return (await exit).errors;
}

describe('ACTORY_WEBSOCKET_LOG', () => {
  test('has what happens told on stderr, without secrets, to the last line', async () => {
    const server = await logging('debug');
    const client = await server.client();
    client.socket.close(4321);
    await client.closed;
    const told = await end(server);
    // Every line of a manager names its engine.
    const line = (level, text) =>
      new RegExp(
        `^\\d{4}-\\d\\d-\\d\\dT\\S+Z +${level} engine{name="\\S{8}"}: actory_websocket::${text}`,
        'm',
      );
    expect(told).toMatch(line('INFO', 'engine: engine started .*redis=false'));
    expect(told).toMatch(line('DEBUG', 'engine::upgrade: connection opened .*127.0.0.1'));
    expect(told).toMatch(line('DEBUG', 'engine::shared: connection ended .*code=4321'));
    expect(told).toMatch(line('INFO', 'engine::shutdown: engine stopped'));
    expect(told).not.toContain('hunter2');
  });

  test('takes levels by target', async () => {
    const server = await logging('actory_websocket::engine::shutdown=info,actory_websocket::worker=debug');
    await server.client();
    const told = await end(server);
    expect(told).toContain('engine stopped');
    expect(told).not.toContain('connection opened');
    expect(told).not.toContain('engine started');
  });

  test.each(['', undefined, 'off'])('says nothing for %p', async (log) => {
    const server = await logging(log);
    await server.client();
    expect(await end(server)).toBe('');
  });

  test.each([
    'debg',
    'debug,other=info',
    'actory_websocket::brokr=debug',
    '1',
    ',',
    'actory_websocket=',
    'actory_websocket=much\n',
    'x'.repeat(60),
  ])('names a value that is of no use: %j', async (log) => {
    const told = await end(await logging(log));
    expect(told).toMatch(/^ACTORY_WEBSOCKET_LOG is ignored: expected .*, got '[^\n]{0,45}'\n$/);
  });

  test('holds nobody up where nobody reads stderr, and says how much was dropped', async () => {
    const pipe = fullPipe();
    const file = join(__dirname, 'programs', 'ending.js');
    const command = ['-c', 'exec "$0" "$1" 2>"$2"', process.execPath, file, pipe.path];
    const server = await withClients(run('sh', command, { ...process.env, ACTORY_WEBSOCKET_LOG: 'debug' }));
    for (let round = 0; round < 12; round += 1) {
      const clients = await Promise.all(Array.from({ length: 50 }, server.client));
      for (const { socket } of clients) socket.close();
      await Promise.all(clients.map(({ closed }) => closed));
    }
    let told = '';
    for (
      ;
      !/^ACTORY_WEBSOCKET_LOG: \d+ lines were dropped, for stderr was slow$/m.test(told);
      told += pipe.read()
    )
      await sleep(2);
    server.child.kill('SIGTERM');
    expect((await server.exit).code).toBe(0);
  }, 60_000);
});
