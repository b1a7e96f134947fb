'use strict';

const { once } = require('node:events');
const { connect } = require('./support/client');
const { host } = require('./support/host');

describe("'slow'", () => {
  // More than an outbox of 16 KiB, before anything can have been offered to the client, and no more than the kernel takes.
  const limits = { outboxBytes: 16_384 };
  const text = 'x'.repeat(500);
  const COUNT = 100;

  test.each([
    ['a listener', (send) => send()],
    [
      'what a listener goes on with after a wait',
      async (send) => {
        await undefined;
        send();
      },
    ],
    ['elsewhere', (send) => setImmediate(send)],
  ])('has no part in what is sent in one go by %s', async (_where, call) => {
    const { manager, url } = await host({ auth: 'anonymous', relay: false, limits });
    const refused = jest.fn();
    manager.on('slow', refused);
    manager.on('connection', (connection) =>
      call(() => {
        for (let n = 0; n < COUNT; n += 1) if (!connection.send(text)) refused();
      }),
    );
    const client = await connect(url);
    for (let n = 0; n < COUNT; n += 1) expect(await client.next()).toBe(text);
    expect(refused).not.toHaveBeenCalled();
  });

  test('has no part in many broadcasts by one listener', async () => {
    const { manager, pair } = await host({ relay: false, limits });
    const refused = jest.fn();
    manager.on('slow', refused);
    const pairs = await Promise.all(Array.from({ length: 10 }, () => pair()));
    manager.on('message', () => {
      for (let n = 0; n < COUNT; n += 1) manager.broadcast(text);
    });
    pairs[0].client.send('go');
    for (const { client } of pairs) {
      for (let n = 0; n < COUNT; n += 1) expect(await client.next()).toBe(text);
    }
    expect(refused).not.toHaveBeenCalled();
  });

  test('tells of a client that does not read, which is closed with 4004 while others see nothing', async () => {
    const { manager, pair } = await host({
      relay: false,
      limits: { closeTimeoutMs: 50 },
    });
    const slow = await pair();
    const other = await pair();
    slow.client.socket.pause();
    const told = once(manager, 'slow');
    const gone = once(manager, 'disconnect');
    const chunk = Buffer.alloc(100_000);
    while (slow.connection.send(chunk)) await new Promise(setImmediate);
    const [connection, dropped] = await told;
    expect(connection).toBe(slow.connection);
    expect(dropped.droppedMessages).toBeGreaterThanOrEqual(1);
    expect(dropped.droppedBytes).toBeGreaterThanOrEqual(dropped.droppedMessages * 100_000);
    expect((await gone).slice(0, 2)).toEqual([connection, 4004]);
    expect(connection.send('x')).toBe(false);
    other.connection.send('fine');
    expect(await other.client.next()).toBe('fine');
    slow.client.socket.resume();
    slow.client.socket.terminate();
  });
});
