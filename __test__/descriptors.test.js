'use strict';

const net = require('node:net');
const { join } = require('node:path');
const { once } = require('node:events');
const { closeAfterwards } = require('./support/cleanup');
const { RawClient, upgradeRequest } = require('./support/client');
const { startRedis } = require('./support/redis');
const { run } = require('./support/program');
const { SECRET, sign } = require('./support/token');

/** A server in a process that may have so many descriptors. */
async function start(descriptors, options) {
  const file = join(__dirname, 'programs', 'few-descriptors.js');
  const limited = ['-c', `ulimit -n ${descriptors} && exec "$@"`, 'sh', process.execPath, file];
  const { child, line } = run('sh', limited, { ...process.env, OPTIONS: JSON.stringify(options) });
  const port = Number(await line());
  return {
    port,
    async failures() {
      child.stdin.write('\n');
      return JSON.parse(await line());
    },
  };
}

/** A client with no token that never closes its side. Resolves once it has its answer. */
async function intrude(port) {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  closeAfterwards(() => socket.destroy());
  socket.on('error', () => {});
  socket.write(upgradeRequest());
  await once(socket, 'data');
}

// `ulimit` is of shells that Windows lacks.
const onUnix = process.platform === 'win32' ? describe.skip : describe;

onUnix('a process with few descriptors and limits.maxConnections below them', () => {
  test.each(['http', 'close'])(
    'keeps some for everybody while refused clients stay (%s)',
    async (rejectWith) => {
      const options = { jwt: { secret: SECRET }, rejectWith, maxConnections: 100 };
      const server = await start(256, options);
      const headers = { Authorization: `Bearer ${sign({ sub: 'ada' })}` };
      const open = [];
      for (let round = 0; round < 40; round += 1) {
        await Promise.all(Array.from({ length: 10 }, () => intrude(server.port)));
        const good = new RawClient(server.port);
        good.write(upgradeRequest(undefined, headers));
        expect(await good.said('\r\n\r\n')).toContain('HTTP/1.1 101 ');
        open.push(good);
      }
      expect(open).toHaveLength(40);
      expect(await server.failures()).toEqual({});
    },
    30_000,
  );
});

// They are counted in /proc.
(process.platform === 'linux' ? test : test.skip)(
  'managers and RedisPubSubs that were closed keep none, though somebody keeps them',
  async () => {
    const redis = await startRedis();
    const file = join(__dirname, 'programs', 'closed-managers.js');
    const { line } = run(process.execPath, [file], { ...process.env, REDIS_URL: redis.url });
    const { before, after } = JSON.parse(await line());
    expect(after).toBe(before);
  },
  30_000,
);
