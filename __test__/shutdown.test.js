'use strict';

const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');
const net = require('node:net');
const { once } = require('node:events');
const { shutdownOnSignals } = require('..');
const { certificate } = require('./support/certificate');
const { closeAfterwards } = require('./support/cleanup');
const { connect } = require('./support/client');
const { program } = require('./support/program');

/** A process that ends by `shutdownOnSignals`. */
async function ending(env = {}) {
  const { OPTIONS, ...more } = env;
  const run = program('ending.js', {
    env: { ...more, ...(OPTIONS && { OPTIONS: JSON.stringify(OPTIONS) }) },
  });
  const port = Number(await run.line());
  const clients = (count) =>
    Promise.all(
      Array.from({ length: count }, (_, i) => connect(`ws://127.0.0.1:${port}/${i % 2 ? 'one' : 'two'}`)),
    );
  return { ...run, port, clients };
}

/** Asks over a connection that is kept alive; answers with the response, whose body is still to come. */
async function get(port, path, agent) {
  const [response] = await once(http.get({ host: '127.0.0.1', port, path, agent }), 'response');
  return response;
}

/** Opens a TCP connection, and sends no more than that. */
async function dial(port, text = '') {
  const socket = net.connect(port, '127.0.0.1');
  closeAfterwards(() => socket.destroy());
  const closed = new Promise((resolve) => socket.on('close', resolve));
  await once(
    socket.on('error', () => {}),
    'connect',
  );
  socket.resume().write(text);
  return { socket, closed };
}

const bodyOf = async (response) => Buffer.concat(await response.toArray()).toString();
const codes = (clients) => Promise.all(clients.map(async ({ closed }) => (await closed).code));
/** Resolves when the server refuses new clients, and so has begun to end. */
const begun = (clients) => Promise.race(clients.map(({ closed }) => closed));

describe('shutdownOnSignals', () => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    test(`tells all clients of all managers at ${signal}, closes the server, and exits with 0`, async () => {
      const { child, clients, line, exit } = await ending({ OPTIONS: { drainMs: 300 } });
      const all = await clients(40);
      child.kill(signal);
      expect(new Set(await codes(all))).toEqual(new Set([1012]));
      expect(await line()).toBe('closed 0,0 false');
      expect(await line()).toBe('exit');
      expect(await exit).toMatchObject({ code: 0, signal: null, errors: '' });
    });
  }

  test('goes on serving while it drains, without keeping connections alive, and says that it ends', async () => {
    const agent = new http.Agent({ keepAlive: true });
    const { child, port, clients, exit } = await ending({ OPTIONS: { drainMs: 2000 } });
    const before = await get(port, '/', agent);
    expect([before.headers.connection, await bodyOf(before)]).toEqual(['keep-alive', 'false']);
    const all = await clients(8);
    child.kill('SIGTERM');
    await begun(all);
    const during = await get(port, '/', agent);
    expect([during.headers.connection, await bodyOf(during)]).toEqual(['close', 'true']);
    expect(await exit).toMatchObject({ code: 0 });
    agent.destroy();
  });

  test('lets a request end that came before, and does not wait for connections that are idle', async () => {
    const agent = new http.Agent({ keepAlive: true });
    const { child, port, exit } = await ending({ OPTIONS: { drainMs: 0 } });
    await bodyOf(await get(port, '/', agent));
    const late = await get(port, '/late', agent);
    const start = performance.now();
    child.kill('SIGINT');
    expect(await bodyOf(late)).toBe('first last');
    expect(await exit).toMatchObject({ code: 0 });
    // Less than what the connection would be kept alive for.
    expect(performance.now() - start).toBeLessThan(3000);
    agent.destroy();
  });

  test.each(['http', 'https'])(
    'sends an answer whole that is complete before its client has it, on %s',
    async (SERVER) => {
      const { key, cert } = SERVER === 'https' ? certificate() : {};
      const { child, port, line, exit } = await ending({
        SERVER,
        TLS: JSON.stringify({ key: key?.toString(), cert: cert?.toString() }),
        OPTIONS: { drainMs: 0, deadlineMs: 60_000 },
      });
      const { get: ask } = SERVER === 'https' ? https : http;
      const [large] = await once(
        ask({ host: '127.0.0.1', port, path: '/large', rejectUnauthorized: false }),
        'response',
      );
      child.kill('SIGTERM');
      // Once nobody gets in any more, the server has been closed, and idle connections ended.
      const isOpen = () =>
        dial(port).then(
          () => true,
          () => false,
        );
      while (await isOpen()) await new Promise(setImmediate);
      expect((await bodyOf(large)).length).toBe(30e6);
      expect(await line()).toBe('closed 0,0 false');
      expect(await exit).toMatchObject({ code: 0, errors: '' });
    },
  );

  test('answers all that is under way on a connection while it drains, in whatever form headers are given', async () => {
    const { child, port, clients, exit } = await ending({ OPTIONS: { drainMs: 1000 } });
    const all = await clients(40);
    child.kill('SIGTERM');
    await begun(all);
    const pairs = await get(port, '/pairs');
    expect([pairs.headers['set-cookie'], pairs.headers.connection, await bodyOf(pairs)]).toEqual([
      ['a=1', 'b=2'],
      'close',
      'pairs',
    ]);
    const { socket } = await dial(port);
    const said = bodyOf(socket);
    socket.write('GET /soon HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(3));
    const answers = (await said).split('HTTP/1.1 200 OK\r\n').slice(1);
    expect(answers.map((answer) => /^Connection: (.*)\r$[\s\S]*soon/m.exec(answer)?.[1])).toEqual([
      'keep-alive',
      'keep-alive',
      'close',
    ]);
    expect(await exit).toMatchObject({ code: 0, errors: '' });
  });

  test('waits for no answer whose client has left, though others wait behind it', async () => {
    const { child, port, line, exit } = await ending({ OPTIONS: { drainMs: 0, deadlineMs: 60_000 } });
    const left = await dial(
      port,
      ['/never', '/', '/'].map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''),
    );
    await get(port, '/').then(bodyOf);
    left.socket.destroy();
    const silent = await dial(port);
    child.kill('SIGTERM');
    expect(await line()).toBe('closed 0,0 false');
    await silent.closed;
    expect(await exit).toMatchObject({ code: 0, errors: '' });
  });

  test('cuts off what never ends a second before the deadline, so that onClosed has its turn', async () => {
    const { child, port, line, exit } = await ending({ OPTIONS: { drainMs: 0, deadlineMs: 2000 } });
    const events = await get(port, '/events');
    child.kill('SIGTERM');
    await expect(bodyOf(events)).rejects.toThrow('aborted');
    expect(await line()).toBe('closed 0,0 false');
    expect(await exit).toMatchObject({ code: 0 });
  });

  test('exits at the deadline, whatever is left', async () => {
    const { child, clients, line, exit } = await ending({
      THEN: 'hang',
      OPTIONS: { drainMs: 0, deadlineMs: 3000 },
    });
    const [client] = await clients(1);
    child.kill('SIGTERM');
    expect((await client.closed).code).toBe(1001);
    expect(await line()).toBe('closed 0,0 false');
    const { code, errors } = await exit;
    expect(code).toBe(1);
    expect(errors).toMatch(/ACTORY_WS_SHUTDOWN.*at its deadline \(3000 ms\).*: onClosed\n/);
  });

  test('answers nothing any more when onClosed runs, also where a client does not answer its close frame', async () => {
    const { child, port, line, exit } = await ending({
      THEN: 'hang',
      OPTIONS: { drainMs: 0, deadlineMs: 2000 },
    });
    const key = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
    const { socket } = await dial(
      port,
      `GET /one HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${key}\r\n`,
    );
    await once(socket, 'data');
    child.kill('SIGTERM');
    expect(await line()).toBe('closed 0,0 false');
    await expect(get(port, '/')).rejects.toThrow('ECONNREFUSED');
    expect((await exit).errors).toMatch(/a WebSocketManager, onClosed\n/);
  });

  test.each(['http', 'https'])(
    "ends others' WebSockets, and connections that say nothing, on %s",
    async (SERVER) => {
      const { key, cert } = SERVER === 'https' ? certificate() : {};
      const { child, port, line, exit } = await ending({
        SERVER,
        TLS: JSON.stringify({ key: key?.toString(), cert: cert?.toString() }),
        OPTIONS: { drainMs: 0, deadlineMs: 60_000 },
      });
      const silent = await dial(port);
      const url = `${SERVER.replace('http', 'ws')}://127.0.0.1:${port}/theirs`;
      const theirs = await connect(url, { rejectUnauthorized: false });
      child.kill('SIGTERM');
      expect(await line()).toBe('closed 0,0 false');
      expect((await theirs.closed).code).toBe(1006);
      await silent.closed;
      expect(await exit).toMatchObject({ code: 0, errors: '' });
    },
  );

  test('lets requests of HTTP/2 end, and then their session', async () => {
    const { child, port, line, exit } = await ending({
      SERVER: 'http2',
      OPTIONS: { drainMs: 0, deadlineMs: 60_000 },
    });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    closeAfterwards(() => session.destroy());
    const closed = once(session, 'close');
    const late = session.request({ ':path': '/late' });
    await once(late, 'response');
    child.kill('SIGTERM');
    expect(await bodyOf(late)).toBe('first last');
    await closed;
    expect(await line()).toBe('closed 0,0 false');
    expect(await exit).toMatchObject({ code: 0, errors: '' });
  });

  test('takes null where there is no server', async () => {
    const { child, clients, line, exit } = await ending({ THEN: 'null', OPTIONS: { drainMs: 0 } });
    const [client] = await clients(1);
    child.kill('SIGTERM');
    expect((await client.closed).code).toBe(1001);
    expect(await line()).toBe('closed 0,0 true');
    expect(await exit).toMatchObject({ code: 0, errors: '' });
  });

  test('goes on where a server can’t be closed, warns, and exits with 1', async () => {
    const { child, clients, line, exit } = await ending({ THEN: 'broken', OPTIONS: { drainMs: 0 } });
    const [client] = await clients(1);
    child.kill('SIGTERM');
    expect((await client.closed).code).toBe(1001);
    expect(await line()).toBe('closed 0,0 true');
    const { code, errors } = await exit;
    expect(code).toBe(1);
    expect(errors).toMatch(/ACTORY_WS_SHUTDOWN.*at an HTTP server: no such server/);
  });

  test('needs none of the timers that tests fake', async () => {
    const { child, port, line, exit } = await ending({
      THEN: 'faked',
      OPTIONS: { drainMs: 0, deadlineMs: 60_000 },
    });
    const silent = await dial(port);
    child.kill('SIGTERM');
    expect(await line()).toBe('closed 0,0 false');
    await silent.closed;
    expect(await exit).toMatchObject({ code: 0, errors: '' });
  });

  test('exits at once at the second signal, and takes one that comes twice, as from npm, for one', async () => {
    const { child, clients, exit } = await ending({ OPTIONS: { drainMs: 60_000 } });
    const all = await clients(3);
    child.kill('SIGINT');
    child.kill('SIGINT');
    // A signal within half a second of the first is an echo of it, so the next one has to come later. The first of three clients goes
    // after a third of the drain at the latest: they are still there.
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(child.exitCode).toBe(null);
    child.kill('SIGTERM');
    expect(await exit).toMatchObject({ code: 128 + 15, signal: null });
    await codes(all);
  });

  test('warns and exits with 1 if onClosed throws', async () => {
    const { child, exit } = await ending({ THEN: 'throw' });
    child.kill('SIGTERM');
    const { code, errors } = await exit;
    expect(code).toBe(1);
    expect(errors).toMatch(/ACTORY_WS_SHUTDOWN.*The shutdown failed at onClosed: the database/);
  });

  test('takes the signals, servers and onClosed of all calls, the longest times, and one call back', async () => {
    const { child, clients, line, exit } = await ending({ THEN: 'calls', OPTIONS: { drainMs: 0 } });
    expect(await line()).toBe('1,1,1,0');
    const [client] = await clients(1);
    child.kill('SIGUSR2');
    // Not 1001, as without a drain.
    expect((await client.closed).code).toBe(1012);
    expect(await line()).toBe('closed 0,0 false');
    expect(await line()).toBe('second');
    expect(await line()).toBe('exit');
    expect(await exit).toMatchObject({ code: 0 });
  });

  test('is one of the process, whichever copy of the package was called', async () => {
    const { child, line, exit } = await ending({ THEN: 'copies', OPTIONS: { drainMs: 0 } });
    expect(await line()).toBe('1');
    child.kill('SIGTERM');
    expect(await line()).toBe('closed 0,0 false');
    expect(await line()).toBe('second true true');
    expect(await line()).toBe('exit');
    expect(await exit).toMatchObject({ code: 0 });
  });

  test('keeps no connection alive of a server that is added while it ends', async () => {
    const agent = new http.Agent({ keepAlive: true });
    const { child, clients, line, say, exit } = await ending({ THEN: 'added', OPTIONS: { drainMs: 2000 } });
    const all = await clients(8);
    child.kill('SIGTERM');
    await begun(all);
    say('now');
    expect((await get(Number(await line()), '/', agent)).headers.connection).toBe('close');
    expect(await line()).toBe('closed 0,0 false');
    expect(await exit).toMatchObject({ code: 0 });
    agent.destroy();
  });

  test('can be unwired, and started by something else than a signal', async () => {
    const unwired = await ending({ THEN: 'unwire' });
    unwired.child.kill('SIGTERM');
    expect(await unwired.exit).toMatchObject({ code: null, signal: 'SIGTERM' });

    const started = await ending({ THEN: 'start' });
    started.say('now');
    expect(await started.line()).toBe('closed 0,0 false');
    expect(await started.exit).toMatchObject({ code: 0 });
  });

  test('refuses what it can’t use, and wires nothing then', () => {
    const server = http.createServer();
    for (const [args, type, code, message = ''] of [
      [[], TypeError, 'ERR_INVALID_SERVER'],
      [[[server, 5]], TypeError, 'ERR_INVALID_SERVER'],
      [[[null]], TypeError, 'ERR_INVALID_SERVER'],
      [[server, 5000], TypeError, 'ERR_INVALID_ARG'],
      [[server, null], TypeError, 'ERR_INVALID_ARG'],
      [[server, { drainMs: '5' }], TypeError, 'ERR_INVALID_ARG'],
      [[server, { drainMs: -1 }], RangeError, 'ERR_ARG_OUT_OF_RANGE'],
      [[server, { deadlineMs: 0.5 }], RangeError, 'ERR_ARG_OUT_OF_RANGE'],
      [[server, { signals: 'SIGTERM' }], TypeError, 'ERR_INVALID_ARG'],
      [[server, { signals: ['SIGTERM', 15] }], TypeError, 'ERR_INVALID_ARG', /"options.signals\[1\]"/],
      [[server, { signals: ['SIGWHAT'] }], RangeError, 'ERR_ARG_OUT_OF_RANGE', /"SIGWHAT"/],
      [[server, { signals: ['SIGTERM', 'SIGKILL'] }], RangeError, 'ERR_ARG_OUT_OF_RANGE', /\[1\].*"SIGKILL"/],
      [[server, { signals: ['SIGSTOP'] }], RangeError, 'ERR_ARG_OUT_OF_RANGE'],
      [
        [server, { drainMs: 10_000, deadlineMs: 10 }],
        RangeError,
        'ERR_ARG_OUT_OF_RANGE',
        /deadlineMs.*10000/,
      ],
      [[server, { onClosed: 'exit' }], TypeError, 'ERR_INVALID_ARG'],
      [[server, { timeout: 5 }], TypeError, 'ERR_UNKNOWN_OPTION'],
    ]) {
      expect(() => shutdownOnSignals(...args)).toThrow(expect.objectContaining({ code }));
      expect(() => shutdownOnSignals(...args)).toThrow(type);
      expect(() => shutdownOnSignals(...args)).toThrow(message);
    }
    expect(server.listenerCount('connection')).toBe(1);
    expect(process.listenerCount('SIGTERM')).toBe(0);
  });
});
