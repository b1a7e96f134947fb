'use strict';

const https = require('node:https');
const net = require('node:net');
const { once } = require('node:events');
const { certificate } = require('./support/certificate');
const { connect, upgradeRequest } = require('./support/client');
const { closeAfterwards } = require('./support/cleanup');
const { host } = require('./support/host');

const CLIENTS = 30;
/** A text frame with `question`, masked with zeros. */
const QUESTION = Buffer.concat([Buffer.from([0x81, 0x88, 0, 0, 0, 0]), Buffer.from('question')]);

/** The number of clients that are answered, of some that ask and close at once. */
async function answered(url, options = {}) {
  let count = 0;
  for (let i = 0; i < CLIENTS; i += 1) {
    const client = await connect(url, options);
    client.socket.on('message', () => {
      count += 1;
    });
    client.send('question');
    client.close(4321, 'thanks');
    expect(await client.closed).toEqual({ code: 4321, reason: 'thanks' });
  }
  return count;
}

describe('What a client says right before it closes', () => {
  test('is answered', async () => {
    const { manager, url } = await host({ relay: false });
    manager.on('message', (connection) => {
      expect(connection.isOpen).toBe(true);
      connection.send('answer');
    });
    expect(await answered(url)).toBe(CLIENTS);
  });

  test('is answered by a listener that awaits what is there', async () => {
    const { manager, url } = await host({ relay: false });
    manager.on('message', async (connection) => {
      await null;
      connection.send(await Promise.resolve('answer'));
    });
    expect(await answered(url)).toBe(CLIENTS);
  });

  test('is answered over TLS', async () => {
    const { manager, port } = await host({ relay: false }, https.createServer(certificate()));
    manager.on('message', (connection) => connection.send('answer'));
    const url = `wss://127.0.0.1:${port}/api/websocket`;
    expect(await answered(url, { rejectUnauthorized: false })).toBe(CLIENTS);
  });

  test('is answered if the end of its stream comes right behind it', async () => {
    const { manager, port } = await host({ relay: false });
    manager.on('message', (connection) => connection.send('answer'));
    for (let i = 0; i < CLIENTS; i += 1) {
      const gone = once(manager, 'disconnect');
      const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      closeAfterwards(() => socket.destroy());
      socket.write(upgradeRequest());
      let said = '';
      socket.on('data', (bytes) => {
        said += bytes.toString('latin1');
      });
      while (!said.includes('\r\n\r\n')) await once(socket, 'data');
      socket.end(QUESTION);
      await once(socket, 'end');
      expect(said.endsWith('\x81\x06answer')).toBe(true);
      expect((await gone).slice(1)).toEqual([1006, '', 'network']);
      socket.destroy();
    }
  });

  test.each([
    [100, 1],
    [1500, 0],
  ])(
    'is answered if a listener keeps it waiting for %d ms, and closeTimeoutMs is 500',
    async (ms, answers) => {
      const { manager, url } = await host({ relay: false, limits: { closeTimeoutMs: 500 } });
      const sent = [];
      manager.on('message', (connection, data) => {
        if (data === 'wait') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
        else sent.push(connection.isOpen, connection.send('answer'));
      });
      const client = await connect(url);
      let count = 0;
      client.socket.on('message', () => {
        count += 1;
      });
      const gone = once(manager, 'disconnect');
      client.send('wait');
      client.send('question');
      client.close(4321, 'thanks');
      expect(await client.closed).toEqual({ code: 4321, reason: 'thanks' });
      expect((await gone).slice(1)).toEqual([4321, 'thanks', 'peer']);
      expect(count).toBe(answers);
      expect(sent).toEqual([answers === 1, answers === 1]);
    },
  );

  test('is the first word of a listener of connection to a client that closes at once', async () => {
    const { manager, url } = await host({ relay: false });
    manager.on('connection', (connection) => connection.send('welcome'));
    for (let i = 0; i < CLIENTS; i += 1) {
      const client = await connect(url);
      client.close();
      expect(await client.next()).toBe('welcome');
      await client.closed;
    }
  });
});
