'use strict';

const http = require('node:http');
const { manage } = require('./support/host');
const { warnings } = require('./support/warnings');

const turn = () => new Promise(setImmediate);
const circular = {};
circular.self = circular;

const MISTAKES = [
  ['sendToUser of no user', 'ERR_INVALID_ARG', (manager) => manager.sendToUser(undefined, 'x')],
  ['sendToRoom of an empty name', 'ERR_ARG_OUT_OF_RANGE', (manager) => manager.sendToRoom('', 'x')],
  ['broadcast of a circle', 'ERR_NOT_SERIALIZABLE', (manager) => manager.broadcast(circular)],
  ['broadcast of too much', 'ERR_TOO_LARGE', (manager) => manager.broadcast('x'.repeat(5_000_000))],
  ['isOnline of no user', 'ERR_INVALID_ARG', (manager) => manager.isOnline(null)],
  ['publish on no channel', 'ERR_INVALID_ARG', (manager) => manager.publish(undefined, {})],
  ['broadcast with a Map', 'ERR_INVALID_ARG', (manager) => manager.broadcast('x', new Map())],
  ['broadcast with an array', 'ERR_INVALID_ARG', (manager) => manager.broadcast('x', [])],
  ['close with a number', 'ERR_INVALID_ARG', (manager) => manager.close(5000)],
];

afterEach(() => jest.restoreAllMocks());

describe.each(MISTAKES)('%s', (_what, code, call) => {
  test('becomes a warning if nobody handles it', async () => {
    const manager = manage(http.createServer());
    const warned = warnings();
    call(manager);
    await turn();
    expect(warned).toEqual([expect.objectContaining({ code })]);
  });

  test('is for who handles it alone, in whichever way', async () => {
    const manager = manage(http.createServer());
    const warned = warnings();
    const promise = call(manager);
    expect(promise).toBeInstanceOf(Promise);
    await expect(promise).rejects.toMatchObject({ code });
    expect(await call(manager).catch((error) => error.code)).toBe(code);
    expect(await call(manager).then(undefined, (error) => error.code)).toBe(code);
    expect(await Promise.allSettled([call(manager)])).toMatchObject([{ reason: { code } }]);
    await turn();
    expect(warned).toEqual([]);
  });
});

test('many mistakes that nobody handles are warned of once a second', async () => {
  const manager = manage(http.createServer());
  const warned = warnings();
  for (let n = 0; n < 100; n += 1) manager.broadcast(undefined);
  await turn();
  expect(warned).toHaveLength(1);
});

test('a promise is no data', async () => {
  const manager = manage(http.createServer());
  const data = Promise.resolve({ id: 7 });
  await expect(manager.broadcast(data)).rejects.toThrow(
    '"data" can\'t be sent: it is a promise, to be awaited first',
  );
  await expect(manager.publish('news', data)).rejects.toThrow('"message" can\'t be sent: it is a promise');
  await expect(manager.broadcast({ data: 1 })).resolves.toMatchObject({ local: 0 });
});
