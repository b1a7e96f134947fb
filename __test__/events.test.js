'use strict';

const { once } = require('node:events');
const { frame } = require('./support/client');
const { host } = require('./support/host');

describe('events', () => {
  test('tell text from binary', async () => {
    const { manager, connect: open } = await host({ relay: false });
    const seen = [];
    const enough = new Promise((resolve) => {
      manager.on('message', (_connection, data, isBinary) => {
        seen.push([data, isBinary]);
        if (seen.length === 4) resolve();
      });
    });
    const client = await open();
    for (const data of ['', 'täxt', Buffer.alloc(0), Buffer.from([0, 255])]) client.send(data);
    await enough;
    expect(seen).toEqual([
      ['', false],
      ['täxt', false],
      [Buffer.alloc(0), true],
      [Buffer.from([0, 255]), true],
    ]);
    expect(Buffer.isBuffer(seen[3][0])).toBe(true);
  });

  test('of one connection come in order, and the end comes last', async () => {
    const { manager, connect: open } = await host({ relay: false });
    const seen = [];
    manager.on('connection', () => seen.push('open'));
    manager.on('message', (_connection, data) => seen.push(data));
    const gone = once(manager, 'disconnect');
    const client = await open();
    for (let i = 0; i < 1000; i += 1) client.send(String(i));
    client.close();
    await gone;
    expect(seen).toEqual(['open', ...Array.from({ length: 1000 }, (_, i) => String(i))]);
  });

  test('have microtasks and ticks run between them', async () => {
    const { manager, connect: open } = await host({ relay: false });
    const seen = [];
    const enough = new Promise((resolve) => {
      manager.on('message', async (_connection, data) => {
        seen.push(`sync ${data}`);
        process.nextTick(() => seen.push(`tick ${data}`));
        await null;
        await null;
        seen.push(`micro ${data}`);
        if (data === '2') resolve();
      });
    });
    const client = await open();
    // Blocks this thread until all three have surely been read, so that they come in one batch.
    client.socket._socket.write(Buffer.concat(['0', '1', '2'].map((text) => frame(text))));
    await enough;
    await new Promise(setImmediate);
    expect(seen.filter((line) => line.endsWith('0')).map((line) => seen.indexOf(line))).toEqual([0, 1, 2]);
    expect(seen.filter((line) => line.endsWith('1')).map((line) => seen.indexOf(line))).toEqual([3, 4, 5]);
  });

  test('leave Node its turn under a flood', async () => {
    const { manager, connect: open } = await host({ relay: false });
    let turns = 0;
    let done = false;
    const turn = () => {
      turns += 1;
      if (!done) setImmediate(turn);
    };
    let longest = 0;
    let sinceTurn = 0;
    let lastTurn = 0;
    const total = 5000;
    let seen = 0;
    const enough = new Promise((resolve) => {
      manager.on('message', () => {
        if (turns !== lastTurn) {
          lastTurn = turns;
          sinceTurn = 0;
        }
        sinceTurn += 1;
        longest = Math.max(longest, sinceTurn);
        seen += 1;
        if (seen === total) resolve();
      });
    });
    const client = await open();
    turn();
    for (let i = 0; i < total; i += 1) client.send('x');
    await enough;
    done = true;
    // The pump's own wake-ups and Node's turns alternate: at most two batches between two turns.
    expect(longest).toBeLessThanOrEqual(512);
  });

  describe('of a quiet client', () => {
    /** Bytes that a message of one byte counts in the queue. */
    const TINY = 65;
    const FLOODS = 4;
    const pause = new Int32Array(new SharedArrayBuffer(4));
    const block = (ms) => Atomics.wait(pause, 0, 0, ms);
    /** Blocks this thread until the queue holds so many messages. */
    const blockUntil = (manager, count) => {
      const full = () => manager.stats().eventBytes >= count * TINY;
      while (!full()) block(1);
    };
    const write = (client, text, count = 1) =>
      client.socket._socket.write(Buffer.concat(Array(count).fill(frame(text))));

    test('come before the rest of what others have flooded the queue with', async () => {
      const { manager, connect: open } = await host({ relay: false });
      const floods = await Promise.all(Array.from({ length: FLOODS }, () => open()));
      const quiet = await open();
      const before = await new Promise((resolve) => {
        let flooded = 0;
        manager.on('message', (_connection, data) => {
          if (data === 'block') {
            for (const flood of floods) write(flood, 'x', 1000);
            blockUntil(manager, FLOODS * 512);
            write(quiet, 'q');
            blockUntil(manager, FLOODS * 512 + 1);
          } else if (data === 'x') {
            flooded += 1;
          } else {
            resolve(flooded);
          }
        });
        write(quiet, 'block');
      });
      // All five have come since the last batch, and a turn has 16 messages at most.
      expect(before).toBeLessThanOrEqual(16 * FLOODS);
    });

    test('wait for few of those that slow listeners take, however many others have sent', async () => {
      const { manager, connect: open } = await host({ relay: false });
      const flood = await open();
      const quiet = await open();
      const before = await new Promise((resolve) => {
        let flooded = 0;
        let isSlow = false;
        manager.on('message', (_connection, data) => {
          if (data[0] === 'q') {
            isSlow = false;
            resolve(flooded);
          }
          flooded += 1;
          // Longer than a turn, after fast ones, which have made batches large.
          if (isSlow) block(3);
          if (flooded === 3000) isSlow = true;
          if (flooded === 3300) {
            const { received } = manager.stats().bytes;
            flooded = 0;
            // More bytes than the whole flood has.
            write(quiet, 'q'.repeat(10_000));
            while (manager.stats().bytes.received < received + 10_000) block(1);
          }
        });
        write(flood, 'x', 6000);
      });
      expect(before).toBeLessThanOrEqual(8);
    });
  });

  test('come in smaller batches after two late turns in a row, not after one', async () => {
    const { Pump } = require('../lib/pump');
    const SIZES = [64, 64, 32, 16, 8, 4, 4];
    const pause = new Int32Array(new SharedArrayBuffer(4));
    const sizes = [];
    await new Promise((resolve) => {
      // Longer than a turn.
      const pump = new Pump(() => Atomics.wait(pause, 0, 0, 3));
      pump.start({
        drain: (collect, size) => {
          sizes.push(size);
          if (sizes.length < SIZES.length) return collect('\0'.repeat(7), null);
          resolve();
          return null;
        },
        flush: () => {},
      });
      pump.wake();
    });
    expect(sizes).toEqual(SIZES);
  });
});

describe('backpressure', () => {
  test('stops reading a connection whose messages JavaScript does not take, and only that one', async () => {
    const { manager, connect: open } = await host({
      relay: false,
      limits: { eventBytesPerConnection: 1024, eventBytes: 65_536 },
    });
    let seen = 0;
    const total = 3000;
    const enough = new Promise((resolve) => {
      manager.on('message', (connection, data) => {
        if (data === 'hello') connection.send('here');
        else seen += 1;
        if (seen === total) resolve();
      });
    });
    const flood = await open();
    for (let i = 0; i < total; i += 1) flood.send('x'.repeat(500));
    const other = await open();
    other.send('hello');
    expect(await other.next()).toBe('here');
    await enough;
    expect(manager.stats().eventBytes).toBeLessThanOrEqual(65_536 + 1024);
  });
});
