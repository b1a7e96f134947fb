'use strict';

const { readFileSync } = require('node:fs');
const http = require('node:http');
const { once } = require('node:events');
const { join } = require('node:path');
const WebSocket = require('ws');
const { closeAdvice } = require('..');
const { manage } = require('./support/host');
const { closeAfterwards } = require('./support/cleanup');

/** `connect` of the README's client, as it is printed, in a page that has these. */
function clientOf(readme, page) {
  const block = readFileSync(join(__dirname, '..', readme), 'utf8')
    .match(/^```js\n[\s\S]*?^```$/gm)
    .map((fenced) => fenced.slice('```js\n'.length, -'```'.length))
    .find((code) => code.includes('function connect(token'));
  const code = block.replace(/^import .*$/m, '');
  return new Function(...Object.keys(page), `${code}; return connect;`)(...Object.values(page));
}

/** A port where nobody listens. */
async function freePort() {
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

describe.each(['README.md', 'README.ja.md'])('the client of %s', (readme) => {
  test('comes back after an outage in which it could not refresh its token', async () => {
    const port = await freePort();
    let socket;
    class PageSocket extends WebSocket {
      constructor(_url, protocols) {
        super(`ws://127.0.0.1:${port}/api/websocket`, protocols);
        this.on('error', () => {});
        socket = this;
      }
    }
    let isLeft = false;
    const pauses = [];
    const asked = { times: 0, third: undefined };
    const thirdTime = new Promise((resolve) => {
      asked.third = resolve;
    });
    const connect = clientOf(readme, {
      closeAdvice,
      WebSocket: PageSocket,
      // The pauses are counted, not waited for.
      setTimeout: (next, ms) => {
        pauses.push(ms);
        if (!isLeft) setTimeout(next, 10);
      },
      freshToken: async () => {
        asked.times += 1;
        if (asked.times === 3) asked.third();
        return (await fetch(`http://127.0.0.1:${port}/token`)).text();
      },
    });
    connect('old');
    await thirdTime;

    const server = http.createServer((_request, response) => response.end('fresh'));
    const manager = manage(server, {
      auth: {
        authenticate: ({ headers }) =>
          headers['sec-websocket-protocol'].endsWith('fresh') ? { userId: 'ada' } : null,
      },
      rejectWith: 'close',
    });
    const back = once(manager, 'connection');
    closeAfterwards(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    });
    server.listen(port, '127.0.0.1');
    await back;
    isLeft = true;
    socket.terminate();
    // Failures all of them: at least half of the longest pause of its turn.
    for (const [failures, ms] of pauses.slice(0, 3).entries()) {
      expect(ms).toBeGreaterThanOrEqual(125 * 2 ** failures);
    }
  });
});
