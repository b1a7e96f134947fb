'use strict';

const { RedisPubSub } = require('..');
const { Inbox } = require('./support/client');
const { run, program } = require('./support/program');
const { open, start, recorder, nextError } = require('./support/pubsub');
const { startRedis, freePort } = require('./support/redis');
const { eventually } = require('./support/servers');
const { Statuses } = require('./support/statuses');

afterEach(() => jest.restoreAllMocks());

describe('messages', () => {
  test('are JSON in and out, in the order in which they were published', async () => {
    const redis = await startRedis();
    const [{ pubsub: one }, { pubsub: two }] = [await start(redis), await start(redis)];
    const handler = recorder();
    await two.subscribe('orders', handler);
    const messages = [{ id: 7, text: 'ä"\n' }, 'text', 0, null, false, [1, [2]], '😀'];
    for (const message of messages) expect(await one.publish('orders', message)).toBe(1);
    for (const message of messages) expect(await handler.next()).toEqual([message, 'orders']);
    expect(await one.publish('others', 1)).toBe(0);
  });

  test('come back to who published them', async () => {
    const { pubsub } = await start(await startRedis());
    const handler = recorder();
    await pubsub.subscribe('orders', handler);
    const sent = Array.from({ length: 1000 }, (_, n) => pubsub.publish('orders', n));
    for (let n = 0; n < 1000; n += 1) expect(await handler.next()).toEqual([n, 'orders']);
    expect(new Set(await Promise.all(sent))).toEqual(new Set([1]));
  });

  test('are plain JSON on a channel without a prefix, for any subscriber of Redis', async () => {
    const redis = await startRedis();
    const { pubsub } = await start(redis);
    const cli = run('redis-cli', ['-s', redis.path, 'SUBSCRIBE', 'shop:orders']);
    for (const line of ['subscribe', 'shop:orders', '1']) expect(await cli.line()).toBe(line);
    expect(await pubsub.publish('shop:orders', { id: 7, text: 'ä' })).toBe(1);
    for (const line of ['message', 'shop:orders', '{"id":7,"text":"ä"}']) expect(await cli.line()).toBe(line);
  });

  test('of any publisher are heard', async () => {
    const redis = await startRedis();
    const { pubsub } = await start(redis);
    const handler = recorder();
    await pubsub.subscribe('orders', handler);
    await redis.command('PUBLISH', 'orders', ' { "id" : 7 } ');
    expect(await handler.next()).toEqual([{ id: 7 }, 'orders']);
  });

  test('of several megabytes pass', async () => {
    const { pubsub } = await start(await startRedis());
    const handler = recorder();
    await pubsub.subscribe('large', handler);
    const text = 'x'.repeat(8 << 20);
    await pubsub.publish('large', text);
    expect((await handler.next())[0]).toBe(text);
  });

  test('that are not JSON become an error, and the next ones are heard', async () => {
    const redis = await startRedis();
    const { pubsub } = await start(redis);
    const handler = recorder();
    await pubsub.subscribe('orders', handler);
    const error = nextError(pubsub);
    for (const text of ['{', '', 'undefined', '1']) await redis.command('PUBLISH', 'orders', text);
    expect(await error).toMatchObject({ name: 'Error', code: 'ERR_BAD_MESSAGE', cause: expect.anything() });
    expect(await handler.next()).toEqual([1, 'orders']);
  });

  test('that are not JSON, and many, become an error a second, with their number', async () => {
    const redis = await startRedis();
    const { pubsub } = await start(redis);
    await pubsub.subscribe('orders', () => {});
    const errors = [];
    pubsub.on('error', (error) => errors.push(error.message));
    let published = 0;
    for (; errors.length < 2; published += 1) await redis.command('PUBLISH', 'orders', '{');
    expect(published).toBeGreaterThan(3);
    expect(errors[1]).toMatch(/so were \d+ more/);
  });

  test('that JSON has nothing for are refused', async () => {
    const { pubsub } = await start(await startRedis());
    const error = { name: 'TypeError', code: 'ERR_NOT_SERIALIZABLE' };
    for (const message of [undefined, () => {}, Symbol('x'), 1n]) {
      await expect(pubsub.publish('orders', message)).rejects.toMatchObject(error);
    }
  });
});

describe('handlers', () => {
  test('of one channel are all called, in the order in which they came', async () => {
    const redis = await startRedis();
    const { pubsub } = await start(redis);
    const calls = new Inbox();
    await pubsub.subscribe('orders', (order) => calls.put(['first', order]));
    await pubsub.subscribe('orders', (order) => calls.put(['second', order]));
    expect(await pubsub.publish('orders', 1)).toBe(1);
    expect([await calls.next(), await calls.next()]).toEqual([
      ['first', 1],
      ['second', 1],
    ]);
    expect(await redis.subscribers('orders')).toBe(1);
  });

  test('that are given twice are called once', async () => {
    const { pubsub } = await start(await startRedis());
    const handler = recorder();
    await Promise.all([pubsub.subscribe('orders', handler), pubsub.subscribe('orders', handler)]);
    for (const n of [1, 2]) await pubsub.publish('orders', n);
    expect([await handler.next(), await handler.next()]).toEqual([
      [1, 'orders'],
      [2, 'orders'],
    ]);
    await pubsub.unsubscribe('orders', handler);
    expect(await pubsub.publish('orders', 3)).toBe(0);
  });

  test('may serve several channels', async () => {
    const { pubsub } = await start(await startRedis());
    const handler = recorder();
    for (const channel of ['a', 'b']) await pubsub.subscribe(channel, handler);
    for (const channel of ['b', 'a']) await pubsub.publish(channel, 1);
    expect([await handler.next(), await handler.next()]).toEqual([
      [1, 'b'],
      [1, 'a'],
    ]);
  });

  test('that are taken off hear nothing more, and the last one ends the subscription', async () => {
    const redis = await startRedis();
    const { pubsub } = await start(redis);
    const [kept, gone] = [recorder(), recorder()];
    await pubsub.subscribe('orders', kept);
    await pubsub.subscribe('orders', gone);
    await pubsub.unsubscribe('orders', gone);
    await pubsub.publish('orders', 1);
    expect(await kept.next()).toEqual([1, 'orders']);
    await pubsub.subscribe('orders', gone);
    await pubsub.publish('orders', 2);
    expect(await gone.next()).toEqual([2, 'orders']);
    await pubsub.unsubscribe('orders');
    await eventually(() => redis.subscribers('orders'), 0);
  });

  test('that were never there may be taken off', async () => {
    const { pubsub } = await start(await startRedis());
    await pubsub.unsubscribe('orders');
    await pubsub.unsubscribe('orders', () => {});
    await pubsub.subscribe('orders', () => {});
    await pubsub.unsubscribe('orders', () => {});
    expect(await pubsub.publish('orders', 1)).toBe(1);
  });

  test('come and go faster than Redis answers', async () => {
    const { pubsub } = await start(await startRedis());
    const handler = recorder();
    for (let n = 0; n < 100; n += 1) {
      pubsub.subscribe('orders', handler);
      pubsub.unsubscribe('orders', handler);
    }
    await pubsub.subscribe('orders', handler);
    expect(await pubsub.publish('orders', 1)).toBe(1);
    expect(await handler.next()).toEqual([1, 'orders']);
    pubsub.subscribe('others', handler);
    await pubsub.unsubscribe('others', handler);
    expect(await pubsub.publish('others', 2)).toBe(0);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('no');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
  ])('one that %s becomes an error, and the others are called all the same', async (_way, bad) => {
    const { pubsub } = await start(await startRedis());
    const good = recorder();
    await pubsub.subscribe('orders', bad);
    await pubsub.subscribe('orders', good);
    const error = nextError(pubsub);
    await pubsub.publish('orders', 1);
    expect(await error).toMatchObject({ name: 'Error', code: 'ERR_LISTENER', cause: { message: 'no' } });
    expect(await good.next()).toEqual([1, 'orders']);
  });

  test("that fail with nobody listening to 'error' become a process warning", async () => {
    const { pubsub } = await start(await startRedis());
    const warned = new Promise((resolve) => {
      jest.spyOn(process, 'emitWarning').mockImplementation((...args) => resolve(args));
    });
    await pubsub.subscribe('orders', () => {
      throw new Error('no');
    });
    await pubsub.publish('orders', 1);
    expect((await warned)[1]).toMatchObject({ type: 'ActoryWebSocketWarning', code: 'ERR_LISTENER' });
  });
});

describe('without Redis', () => {
  test('initialize() says why, and the tries go on', async () => {
    const redis = await startRedis();
    await redis.kill();
    const pubsub = open(redis);
    const statuses = new Statuses(pubsub);
    await expect(pubsub.initialize()).rejects.toMatchObject({ code: 'ERR_BROKER_CONNECT' });
    await expect(pubsub.publish('orders', 1)).rejects.toMatchObject({ code: 'ERR_BROKER_UNAVAILABLE' });
    const handler = recorder();
    const subscribed = pubsub.subscribe('orders', handler);
    const up = statuses.up();
    await redis.restart();
    await up;
    await pubsub.initialize();
    await subscribed;
    expect(await pubsub.publish('orders', 1)).toBe(1);
    expect(await handler.next()).toEqual([1, 'orders']);
  });

  test('a wrong password is said to be one', async () => {
    const redis = await startRedis(['requirepass right']);
    const wrong = open({ url: redis.url.replace('//', '//:wrong@') });
    new Statuses(wrong);
    await expect(wrong.initialize()).rejects.toMatchObject({ code: 'ERR_BROKER_AUTH' });
    await start({ url: redis.url }, { password: 'right' });
  });

  test('publishes are refused, and after a restart every subscription is there again', async () => {
    const redis = await startRedis();
    const { pubsub, statuses } = await start(redis);
    const handlers = Array.from({ length: 100 }, () => recorder());
    await Promise.all(handlers.map((handler, n) => pubsub.subscribe(`channel-${n}`, handler)));
    const down = statuses.down();
    await redis.kill();
    expect((await down).error).toMatchObject({ code: 'ERR_BROKER_CONNECT' });
    await expect(pubsub.publish('channel-0', 1)).rejects.toMatchObject({ code: 'ERR_BROKER_UNAVAILABLE' });
    await pubsub.unsubscribe('channel-99');
    const gap = statuses.gap();
    await redis.restart();
    const { gapSince, gapUntil } = await gap;
    expect(gapSince).toBeLessThanOrEqual(gapUntil);
    const counts = await Promise.all(handlers.map((_, n) => pubsub.publish(`channel-${n}`, n)));
    expect(counts).toEqual(handlers.map((_, n) => (n === 99 ? 0 : 1)));
    for (const [n, handler] of handlers.slice(0, 99).entries()) {
      expect(await handler.next()).toEqual([n, `channel-${n}`]);
    }
  });

  test('what was under way is uncertain', async () => {
    const redis = await startRedis();
    const { pubsub, statuses } = await start(redis);
    const degraded = statuses.degraded();
    redis.pause();
    const published = pubsub.publish('orders', 1);
    await degraded;
    await redis.kill();
    await expect(published).rejects.toMatchObject({ name: 'Error', code: 'ERR_UNCERTAIN' });
  });

  test("trouble becomes a process warning where nobody listens to 'broker'", async () => {
    const warned = new Promise((resolve) => {
      jest.spyOn(process, 'emitWarning').mockImplementation((...args) => resolve(args));
    });
    open({ url: `redis://127.0.0.1:${await freePort()}` });
    expect((await warned)[1]).toEqual({ type: 'ActoryWebSocketWarning', code: 'ERR_BROKER_CONNECT' });
  });
});

describe('close', () => {
  test('ends it, answers one promise, and refuses what comes later', async () => {
    const redis = await startRedis();
    const { pubsub } = await start(redis);
    await pubsub.subscribe('orders', () => {});
    const closed = pubsub.close();
    expect(pubsub.close()).toBe(closed);
    await closed;
    const later = [
      () => pubsub.initialize(),
      () => pubsub.publish('orders', 1),
      () => pubsub.subscribe('orders', () => {}),
      () => pubsub.unsubscribe('orders'),
    ];
    for (const call of later) {
      await expect(call()).rejects.toMatchObject({ name: 'Error', code: 'ERR_CLOSED' });
    }
    await eventually(() => redis.subscribers('orders'), 0);
  });

  test('lets what was published before be answered', async () => {
    const { pubsub } = await start(await startRedis());
    const sent = Array.from({ length: 100 }, () => pubsub.publish('orders', 1));
    await pubsub.close();
    expect(new Set(await Promise.all(sent))).toEqual(new Set([0]));
  });

  test('settles a subscription that Redis has not confirmed', async () => {
    const redis = await startRedis();
    await redis.kill();
    const pubsub = open(redis);
    new Statuses(pubsub);
    const subscribed = pubsub.subscribe('orders', () => {});
    const initialized = pubsub.initialize();
    await pubsub.close();
    await expect(subscribed).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    await expect(initialized).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_/) });
  });

  test('is what `await using` does', async () => {
    const { pubsub } = await start(await startRedis());
    await pubsub[Symbol.asyncDispose]();
    await expect(pubsub.initialize()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });
});

describe('a program', () => {
  const lifetime = async (then) => {
    const redis = await startRedis();
    return { redis, ...program('lifetime.js', { env: { REDIS_URL: redis.url, THEN: then } }) };
  };

  test('is held by a subscription, until it is taken off', async () => {
    const { redis, line, exit } = await lifetime('unsubscribe');
    expect(await line()).toBe('ready');
    await redis.command('PUBLISH', 'orders', '7');
    expect(await line()).toBe('7');
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });

  test('that has closed it has all that its handlers and listeners hold collected', async () => {
    const { url } = await startRedis();
    const { line, exit } = program('collected.js', { args: ['--expose-gc'], env: { REDIS_URL: url } });
    expect(await line()).toBe('left: ');
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });

  test('ends although there is a subscription after unref()', async () => {
    const { line, exit } = await lifetime('unref');
    expect(await line()).toBe('ready');
    expect(await exit).toEqual({ code: 0, signal: null, errors: '' });
  });
});

describe('the constructor', () => {
  test('takes the URL of the argument, of the options, or of the environment', async () => {
    const redis = await startRedis();
    const wrong = { url: `redis://127.0.0.1:${await freePort()}` };
    await start(redis, wrong);
    await start({ url: undefined }, { url: redis.url });
    const before = process.env.REDIS_URL;
    try {
      process.env.REDIS_URL = redis.url;
      await start({ url: undefined });
    } finally {
      if (before === undefined) delete process.env.REDIS_URL;
      else process.env.REDIS_URL = before;
    }
  });

  test.each([
    ['TypeError', 'ERR_INVALID_ARG', [5]],
    ['TypeError', 'ERR_INVALID_ARG', [undefined, 'options']],
    ['TypeError', 'ERR_INVALID_ARG', ['redis://127.0.0.1:1', new Map([['prefix', 'a']])]],
    ['TypeError', 'ERR_INVALID_OPTION', []],
    ['TypeError', 'ERR_UNKNOWN_OPTION', ['redis://127.0.0.1', { prefx: 'x' }]],
    ['RangeError', 'ERR_OPTION_OUT_OF_RANGE', ['127.0.0.1:6379']],
    ['RangeError', 'ERR_OPTION_OUT_OF_RANGE', ['redis://127.0.0.1', { connections: 0 }]],
  ])('throws %s %s for wrong arguments', (name, code, args) => {
    expect(() => new RedisPubSub(...args)).toThrow(expect.objectContaining({ name, code }));
  });
});

test('wrong arguments are refused by name', async () => {
  const { pubsub } = await start(await startRedis());
  const cases = [
    ['TypeError', 'ERR_INVALID_ARG', () => pubsub.publish(5, 1)],
    ['TypeError', 'ERR_INVALID_ARG', () => pubsub.subscribe(null, () => {})],
    ['TypeError', 'ERR_INVALID_ARG', () => pubsub.subscribe('orders', 'no function')],
    ['TypeError', 'ERR_INVALID_ARG', () => pubsub.subscribe('orders')],
    ['TypeError', 'ERR_INVALID_ARG', () => pubsub.unsubscribe('orders', null)],
    ['RangeError', 'ERR_ARG_OUT_OF_RANGE', () => pubsub.publish('', 1)],
    ['RangeError', 'ERR_ARG_OUT_OF_RANGE', () => pubsub.subscribe('x'.repeat(65_537), () => {})],
    ['RangeError', 'ERR_ARG_OUT_OF_RANGE', () => pubsub.unsubscribe('\ud800')],
  ];
  for (const [name, code, call] of cases) await expect(call()).rejects.toMatchObject({ name, code });
  const longest = 'x'.repeat(65_536);
  const handler = recorder();
  await pubsub.subscribe(longest, handler);
  expect(await pubsub.publish(longest, 1)).toBe(1);
  expect(await handler.next()).toEqual([1, longest]);
});
