'use strict';

const { program } = require('./support/program');
const { start, recorder, nextError } = require('./support/pubsub');
const { startRedis } = require('./support/redis');

describe('a channel that the login may not listen on', () => {
  const lines = ['user app on >secret ~* resetchannels &probe:* &open +@all'];

  test('is refused, holds nothing, and may be asked for again', async () => {
    const redis = await startRedis(lines);
    redis.url = redis.url.replace('//', '//app:secret@');
    const { pubsub } = await start(redis);
    const [open, shut, changed] = [recorder(), jest.fn(), jest.fn()];
    // That it is up may still be on its way.
    pubsub.on('broker', ({ state }) => state !== 'up' && changed(state));
    const [opened, refused] = [pubsub.subscribe('open', open), pubsub.subscribe('shut', shut)];
    await expect(refused).rejects.toMatchObject({
      code: 'ERR_BROKER_AUTH',
      message: expect.stringContaining("'shut'"),
    });
    await opened;
    expect(await pubsub.publish('open', 1)).toBe(1);
    expect(await open.next()).toEqual([1, 'open']);
    await redis.command('ACL', 'SETUSER', 'app', '&shut');
    const mended = recorder();
    await pubsub.subscribe('shut', mended);
    expect(await pubsub.publish('shut', 2)).toBe(1);
    expect(await mended.next()).toEqual([2, 'shut']);
    expect(shut).not.toHaveBeenCalled();
    expect(changed).not.toHaveBeenCalled();
  });
});

describe('a subscription that the login loses', () => {
  test('ends with an error event, and holds nothing any more', async () => {
    const redis = await startRedis(['user app on >secret ~* resetchannels &probe:* &news +@all']);
    const env = { REDIS_URL: redis.url.replace('//', '//app:secret@'), ALONE: '1' };
    const { line, exit } = program('subscriber.js', { env });
    expect(await line()).toBe('up');
    await redis.command('ACL', 'SETUSER', 'app', 'resetchannels', '&probe:*');
    const { code, errors } = await exit;
    expect(code).toBe(0);
    expect(errors).toMatch(/ERR_BROKER_AUTH.*'news'/);
  });

  test('leaves those of the same channel that are asked for meanwhile to their own promises', async () => {
    const redis = await startRedis(['user app on >secret ~* resetchannels &probe:* &news +@all']);
    redis.url = redis.url.replace('//', '//app:secret@');
    const { pubsub } = await start(redis);
    const before = jest.fn();
    await pubsub.subscribe('news', before);
    const ended = nextError(pubsub);
    await redis.command('ACL', 'SETUSER', 'app', 'resetchannels', '&probe:*');
    expect(await ended).toMatchObject({
      code: 'ERR_BROKER_AUTH',
      message: expect.stringContaining("'news'"),
    });
    await expect(pubsub.subscribe('news', before)).rejects.toMatchObject({ code: 'ERR_BROKER_AUTH' });
    await redis.command('ACL', 'SETUSER', 'app', '&news');
    const after = recorder();
    await pubsub.subscribe('news', after);
    expect(await pubsub.publish('news', 1)).toBe(1);
    expect(await after.next()).toEqual([1, 'news']);
    expect(before).not.toHaveBeenCalled();
  });
});
