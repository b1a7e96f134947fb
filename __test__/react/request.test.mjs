// useRequest: with a client whose replies the test gives, and with the server of the package.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import * as React from 'react';
import { createElement as h, StrictMode, useEffect, useLayoutEffect } from 'react';
import { useRequest, WebSocketProvider } from '../../react/index.mjs';
import { Inbox } from '../client/support/inbox.mjs';
import { serve } from '../client/support/server.mjs';
import { FakeClient } from './support/fake-client.mjs';
import { probe, provide, show } from './support/stage.mjs';

const { RequestError } = createRequire(import.meta.url)('../..');
const TIMEOUT = { timeout: 20_000 };
const isPending = (state) => state.isPending;
const isSettled = (state) => !state.isPending;

/** A component with `useRequest`, and a fake client. */
function meet(mode = React.Fragment, options = undefined) {
  const client = new FakeClient();
  const { Probe, when, results } = probe((props) => useRequest(props.options));
  const stage = (given, props) =>
    h(mode, null, h(WebSocketProvider, { client: given }, h(Probe, { options, ...props })));
  return { client, when, results, stage, ...show(stage(client)) };
}

const values = ({ data, error, isPending }) => ({ data, error, isPending });

describe('a request of a component', TIMEOUT, () => {
  for (const [name, mode] of [
    ['', React.Fragment],
    [', in StrictMode', StrictMode],
  ]) {
    test(`is pending, and then has its reply${name}`, async () => {
      const { client, when } = meet(mode);
      const idle = await when(isSettled);
      assert.deepEqual(values(idle), { data: undefined, error: undefined, isPending: false });
      assert.equal(idle.send('seat'), undefined);
      assert.deepEqual(values(await when(isPending)), { data: undefined, error: undefined, isPending: true });
      const request = await client.requests.next();
      assert.equal(request.data, 'seat');
      request.resolve('4A');
      const done = await when(isSettled);
      assert.deepEqual(values(done), { data: '4A', error: undefined, isPending: false });
      assert.equal(done.send, idle.send);
    });
  }

  test('that failed has its error, and the reply of the one before', async () => {
    const { client, when } = meet();
    const { send, reset } = await when(isSettled);
    send(1);
    (await client.requests.next()).resolve('one');
    await when(({ data }) => data === 'one');
    send(2);
    const failed = Object.assign(new Error('no'), { code: 'NO' });
    (await client.requests.next()).reject(failed);
    assert.deepEqual(values(await when(({ error }) => error)), {
      data: 'one',
      error: failed,
      isPending: false,
    });
    send(3);
    assert.deepEqual(values(await when(isPending)), { data: 'one', error: undefined, isPending: true });
    reset();
    const { options } = await client.requests.next();
    assert.equal(options.signal.aborted, true);
    assert.deepEqual(values(await when(isSettled)), { data: undefined, error: undefined, isPending: false });
  });

  test('that throws at once has its error as well', async () => {
    const { when } = meet();
    (await when(isSettled)).send(undefined);
    assert.match((await when(({ error }) => error)).error.message, /nothing to ask/);
  });

  test('is aborted by the next one, and its late reply changes nothing', async () => {
    const { client, when, results } = meet();
    const { send } = await when(isSettled);
    send('first');
    const first = await client.requests.next();
    send('second');
    const second = await client.requests.next();
    assert.equal(first.options.signal.aborted, true);
    assert.equal(second.options.signal.aborted, false);
    results.drain();
    second.resolve('of the second');
    first.resolve('of the first');
    assert.equal((await when(isSettled)).data, 'of the second');
    send('third');
    assert.equal((await when(isPending)).data, 'of the second');
  });

  test('is aborted when its component is unmounted', async () => {
    const { client, when, results, unmount } = meet();
    (await when(isSettled)).send(1);
    const { options, resolve } = await client.requests.next();
    await when(isPending);
    unmount();
    assert.equal(options.signal.aborted, true);
    resolve('late');
    assert.deepEqual(results.drain(), []);
  });

  test('is aborted when the client is another one, and no longer pending', async () => {
    const { client, when, render, stage } = meet();
    (await when(isSettled)).send(1);
    const { options } = await client.requests.next();
    await when(isPending);
    const other = new FakeClient();
    render(stage(other));
    const { send } = await when(isSettled);
    assert.equal(options.signal.aborted, true);
    send(2);
    assert.equal((await other.requests.next()).data, 2);
  });

  test('that a layout effect makes of another client is not aborted with those of the one before', async () => {
    const [client, other] = [new FakeClient(), new FakeClient()];
    const { Probe, when } = probe(() => {
      const request = useRequest();
      const { send } = request;
      useLayoutEffect(() => send('load'), [send]);
      return request;
    });
    const { render } = show(h(WebSocketProvider, { client }, h(Probe)));
    const { options } = await client.requests.next();
    await when(isPending);
    render(h(WebSocketProvider, { client: other }, h(Probe)));
    (await other.requests.next()).resolve('loaded');
    assert.equal((await when(isSettled)).data, 'loaded');
    assert.equal(options.signal.aborted, true);
  });

  test('is aborted when its component is hidden, and no longer pending when that is shown', {
    skip: !React.Activity,
  }, async () => {
    const { client, when, render, stage } = meet();
    const inside = (mode) => h(React.Activity, { mode }, stage(client));
    render(inside('visible'));
    (await when(isSettled)).send(1);
    const { options } = await client.requests.next();
    await when(isPending);
    const aborted = new Promise((resolve) => options.signal.addEventListener('abort', resolve));
    render(inside('hidden'));
    await aborted;
    render(inside('visible'));
    await when(isSettled);
  });

  test('in an effect is made by StrictMode twice, and the first is aborted', async () => {
    const client = new FakeClient();
    const { Probe, when } = probe(() => {
      const request = useRequest();
      const { send } = request;
      useEffect(() => send('load'), [send]);
      return request;
    });
    show(h(StrictMode, null, h(WebSocketProvider, { client }, h(Probe))));
    const [first, second] = [await client.requests.next(), await client.requests.next()];
    assert.equal(first.options.signal.aborted, true);
    second.resolve('loaded');
    assert.equal((await when(({ data }) => data)).data, 'loaded');
  });

  test('has the time of the last render', async () => {
    const { client, when, render, stage } = meet();
    const { send } = await when(isSettled);
    render(stage(client, { options: { timeoutMs: 7 } }));
    await when(isSettled);
    send(1);
    assert.equal((await client.requests.next()).options.timeoutMs, 7);
  });

  test('is answered by the application', async () => {
    const { manager, port } = await serve({ relay: false });
    manager.onRequest((connection, { row }) => {
      if (row > 30) throw new RequestError('NO_SUCH_ROW');
      return { seat: `${row}A`, userId: connection.userId };
    });
    const { Probe, when } = probe(() => useRequest());
    const url = `ws://127.0.0.1:${port}/api/websocket?user=ada`;
    const { unmount } = show(provide({ url }, h(Probe)));
    const { send } = await when(isSettled);
    send({ row: 4 });
    assert.deepEqual((await when(({ data }) => data)).data, { seat: '4A', userId: 'ada' });
    send({ row: 31 });
    assert.equal((await when(({ error }) => error)).error.code, 'NO_SUCH_ROW');
    const ended = new Inbox();
    manager.on('disconnect', (...args) => ended.push(args));
    unmount();
    assert.equal((await ended.next())[1], 1000);
  });

  test('that is too late has the error of the client', async () => {
    const { manager, port } = await serve({ relay: false });
    manager.onRequest(() => new Promise(() => {}));
    const { Probe, when } = probe(() => useRequest({ timeoutMs: 50 }));
    show(provide({ url: `ws://127.0.0.1:${port}/api/websocket?user=ada` }, h(Probe)));
    (await when(isSettled)).send(1);
    assert.equal((await when(({ error }) => error)).error.code, 'ERR_TIMEOUT');
  });
});
