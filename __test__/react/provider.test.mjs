// The provider's client: when it connects, and when it does not.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as React from 'react';
import { createElement as h, StrictMode, Suspense, useEffect, useLayoutEffect } from 'react';
import { CoreClient, WebSocketClient } from '../../client/index.mjs';
import { useMessages, useWebSocket, WebSocketProvider } from '../../react/index.mjs';
import { LazyClient } from '../../react/lazy-client.mjs';
import { Inbox } from '../client/support/inbox.mjs';
import { client as makeClient, peer } from '../client/support/lab.mjs';
import { Boundary, complained, probe, provide, show } from './support/stage.mjs';

const TIMEOUT = { timeout: 20_000 };
const isOpen = ({ status }) => status === 'open';
const message = (data) => ({ type: 'message', topic: 'user', data });

/** What `useWebSocket` says, and the messages of no room. */
function listener() {
  const messages = new Inbox();
  const made = probe(() => {
    useMessages(({ data }) => messages.push(data));
    return useWebSocket();
  });
  return { ...made, messages };
}

/** Another client connects, and is the next whom the server sees: nobody connected before. */
async function isNext(server) {
  makeClient(server.url, { token: 'sentinel' });
  const { offered } = await server.next();
  assert.equal(offered.at(-1), 'sentinel');
}

describe('a provider', TIMEOUT, () => {
  for (const [name, mode] of [
    ['', React.Fragment],
    [', in StrictMode', StrictMode],
  ]) {
    test(`connects once, and closes when it is unmounted${name}`, async () => {
      const server = await peer();
      const { Probe, when, messages } = listener();
      let tokens = 0;
      const token = () => `token-${++tokens}`;
      const { unmount } = show(h(mode, null, provide({ url: server.url, token }, h(Probe))));
      const connection = (await server.next()).hello();
      assert.deepEqual(connection.offered, ['actory.v1', 'bearer', 'token-1']);
      const { userId, client } = await when(isOpen);
      assert.equal(userId, '42');
      connection.send(message('once'));
      connection.send(message('last'));
      assert.deepEqual([await messages.next(), await messages.next()], ['once', 'last']);
      await isNext(server);
      unmount();
      const [code] = await connection.closed;
      assert.equal(code, 1000);
      assert.equal(client.status, 'closed');
      await isNext(server);
      assert.equal(tokens, 1);
    });
  }

  test('never connects if it is unmounted while it waits for the token', async () => {
    const server = await peer();
    const { Probe } = listener();
    const asked = new Inbox();
    const token = () => new Promise((resolve) => asked.push(resolve));
    const { unmount } = show(h(StrictMode, null, provide({ url: server.url, token }, h(Probe))));
    const answer = await asked.next();
    unmount();
    answer('late');
    await isNext(server);
  });

  test('ends a connection that is not yet open when it is unmounted', async () => {
    const server = await peer();
    const { Probe, results } = listener();
    const { unmount } = show(provide({ url: server.url }, h(Probe)));
    const connection = await server.next();
    unmount();
    await connection.closed;
    await isNext(server);
    assert.deepEqual(
      results.drain().filter(({ status }) => status !== 'connecting'),
      [],
    );
  });

  test('keeps its client through renders with other options, and asks the latest token', async () => {
    const server = await peer();
    const { Probe, when, results } = listener();
    const stage = (name) => provide({ url: server.url, token: () => name }, h(Probe, { name }));
    const { render } = show(stage('first'));
    const first = (await server.next()).hello();
    assert.equal(first.offered.at(-1), 'first');
    const { client } = await when(isOpen);
    render(stage('second'));
    assert.equal((await results.next()).client, client);
    first.socket.terminate();
    const second = (await server.next()).hello();
    assert.equal(second.offered.at(-1), 'second');
    assert.equal((await when(isOpen)).client, client);
  });

  test('makes another client for another url, and closes the one before', async () => {
    const [here, there] = [await peer(), await peer()];
    const { Probe, when, messages } = listener();
    const { render } = show(provide({ url: here.url }, h(Probe)));
    const first = (await here.next()).hello();
    const before = await when(isOpen);
    render(provide({ url: new URL(there.url) }, h(Probe)));
    first.send(message('of the first'));
    const second = (await there.next()).hello();
    const [code] = await first.closed;
    assert.equal(code, 1000);
    const after = await when((state) => isOpen(state) && state.client !== before.client);
    assert.equal(before.client.status, 'closed');
    second.send(message('of the second'));
    await messages.find((data) => data === 'of the second');
    render(provide({ url: there.url }, h(Probe)));
    assert.equal((await when(isOpen)).client, after.client);
    await isNext(there);
  });

  test('makes another client for another token that is a string', async () => {
    const server = await peer();
    const { Probe } = listener();
    const { render } = show(provide({ url: server.url, token: 'of-ada' }, h(Probe)));
    const first = (await server.next()).hello();
    render(provide({ url: server.url, token: 'of-ben' }, h(Probe)));
    await first.closed;
    assert.equal((await server.next()).offered.at(-1), 'of-ben');
  });

  test('tells components that the page was offline from the start', async () => {
    const server = await peer();
    const { Probe, when } = listener();
    const { navigator } = globalThis;
    globalThis.navigator = { onLine: false };
    try {
      show(provide({ url: server.url }, h(Probe)));
      const { client } = await when(({ status }) => status === 'waiting');
      globalThis.navigator = navigator;
      client.reconnect();
      (await server.next()).hello();
      await when(isOpen);
    } finally {
      globalThis.navigator = navigator;
    }
  });

  test('makes nothing in a render that is thrown away', async () => {
    const server = await peer();
    const { Probe, when } = listener();
    let isReady = false;
    let ready;
    const promise = new Promise((resolve) => {
      ready = resolve;
    });
    const Slow = () => {
      if (!isReady) throw promise;
      return null;
    };
    const waits = new Inbox();
    const Fallback = () => {
      useEffect(() => waits.push('waits'), []);
      return null;
    };
    show(h(Suspense, { fallback: h(Fallback) }, provide({ url: server.url }, h(Probe), h(Slow))));
    await waits.next();
    await isNext(server);
    isReady = true;
    ready();
    (await server.next()).hello();
    await when(isOpen);
    await isNext(server);
  });

  test('stays connected, and its components hear, while what is in it is suspended again', async () => {
    const server = await peer();
    const { Probe, when, messages } = listener();
    const promise = new Promise(() => {});
    const Slow = ({ isReady }) => {
      if (!isReady) throw promise;
      return null;
    };
    const waits = new Inbox();
    const Fallback = () => {
      useEffect(() => waits.push('waits'), []);
      return null;
    };
    const stage = (isReady) =>
      h(Suspense, { fallback: h(Fallback) }, provide({ url: server.url }, h(Probe), h(Slow, { isReady })));
    const { render } = show(stage(true));
    const connection = (await server.next()).hello();
    await when(isOpen);
    render(stage(false));
    await waits.next();
    connection.send(message('meanwhile'));
    assert.equal(await messages.next(), 'meanwhile');
    await isNext(server);
  });

  test('is away while it is hidden, and gets what it missed when it is shown', {
    skip: !React.Activity,
  }, async () => {
    const server = await peer();
    const { Probe, when, messages } = listener();
    const stage = (mode) => h(React.Activity, { mode }, provide({ url: server.url }, h(Probe)));
    const { render } = show(stage('visible'));
    const first = (await server.next()).hello({ topic: 'user', position: null });
    const { client } = await when(isOpen);
    first.send({ ...message(1), position: 'e.t.1' });
    assert.equal(await messages.next(), 1);
    render(stage('hidden'));
    await first.closed;
    render(stage('visible'));
    const second = (await server.next()).hello({ topic: 'user', position: 'e.t.2' });
    assert.deepEqual(await second.next(), { type: 'resume', topics: [{ topic: 'user', position: 'e.t.1' }] });
    assert.equal((await when(isOpen)).client, client);
    await isNext(server);
  });
});

describe('the client of a provider', TIMEOUT, () => {
  test('has all that a client has', () => {
    const names = [CoreClient, WebSocketClient].flatMap(({ prototype }) =>
      Object.getOwnPropertyNames(prototype),
    );
    assert.ok(names.includes('request') && names.includes('send'));
    for (const name of names) {
      const [theirs, ours] = [CoreClient, LazyClient].map(({ prototype }) =>
        Object.getOwnPropertyDescriptor(prototype, name),
      );
      assert.ok(ours, name);
      if (theirs) assert.equal(typeof ours.value, typeof theirs.value, name);
    }
  });

  test('sends what components send in their first effects, and when they go', async () => {
    const server = await peer();
    const { Probe, when } = listener();
    const Sender = () => {
      const { client } = useWebSocket();
      useLayoutEffect(() => {
        client.send('layout effect');
      }, [client]);
      useEffect(() => {
        client.send('effect');
        return () => {
          client.send('cleanup');
        };
      }, [client]);
      return null;
    };
    const { unmount } = show(provide({ url: server.url }, h(Sender), h(Probe)));
    const connection = (await server.next()).hello();
    await when(isOpen);
    unmount();
    const got = [await connection.next(), await connection.next(), await connection.next()];
    assert.deepEqual(
      got.map(({ data }) => data),
      ['layout effect', 'effect', 'cleanup'],
    );
    await connection.closed;
  });

  test('refuses to be used while rendering', async () => {
    const errors = new Inbox();
    const Early = () => {
      useWebSocket().client.send('early');
      return null;
    };
    show(h(Boundary, { errors }, provide({ url: 'ws://127.0.0.1:1/' }, h(Early))));
    assert.equal((await errors.next()).code, 'ERR_NOT_MOUNTED');
    assert.ok(complained().length > 0);
  });

  test('sends what components send in their effects when they are shown again', {
    skip: !React.Activity,
  }, async () => {
    const server = await peer();
    const Sender = () => {
      const { client } = useWebSocket();
      useEffect(() => {
        client.send('shown');
      }, [client]);
      return null;
    };
    const stage = (mode) => h(React.Activity, { mode }, provide({ url: server.url }, h(Sender)));
    const { render } = show(stage('visible'));
    const first = (await server.next()).hello();
    assert.equal((await first.next()).data, 'shown');
    render(stage('hidden'));
    await first.closed;
    render(stage('visible'));
    const second = (await server.next()).hello();
    assert.equal((await second.next()).data, 'shown');
    await isNext(server);
  });

  test('is closed with a provider that is unmounted while it is hidden', {
    skip: !React.Activity,
  }, async () => {
    const server = await peer();
    const { Probe, when } = listener();
    const stage = (mode) => h(React.Activity, { mode }, provide({ url: server.url }, h(Probe)));
    const { render, unmount } = show(stage('visible'));
    const first = (await server.next()).hello();
    const { client } = await when(isOpen);
    render(stage('hidden'));
    await first.closed;
    // Nothing but the provider's end would close this one.
    client.reconnect();
    const second = (await server.next()).hello();
    unmount();
    await second.closed;
    await isNext(server);
  });

  test('stays closed once the provider is unmounted', async () => {
    const server = await peer();
    const { Probe, when } = listener();
    const { unmount } = show(provide({ url: server.url }, h(Probe)));
    const connection = (await server.next()).hello();
    const { client } = await when(isOpen);
    unmount();
    await connection.closed;
    client.reconnect();
    await assert.rejects(client.send('late'), { code: 'ERR_CLOSED' });
    await isNext(server);
  });

  test('stays closed if the application closed it before its components are hidden', {
    skip: !React.Activity,
  }, async () => {
    const server = await peer();
    const { Probe, when } = listener();
    const stage = (mode) => h(React.Activity, { mode }, provide({ url: server.url }, h(Probe)));
    const { render } = show(h(React.Fragment, null, stage('visible')));
    (await server.next()).hello();
    const { client } = await when(isOpen);
    client.close();
    await when(({ status }) => status === 'closed');
    const seen = new Inbox();
    const Marker = ({ mode }) => {
      useEffect(() => seen.push(mode), [mode]);
      return null;
    };
    for (const mode of ['hidden', 'visible']) {
      render(h(React.Fragment, null, stage(mode), h(Marker, { mode })));
      assert.equal(await seen.next(), mode);
    }
    await isNext(server);
    assert.equal(client.status, 'closed');
  });

  test('of the application is used as it is, and never closed', async () => {
    const server = await peer();
    const made = makeClient(server.url);
    const connection = (await server.next()).hello();
    await made.status('open');
    const { Probe, when, messages } = listener();
    const { unmount } = show(h(StrictMode, null, h(WebSocketProvider, { client: made.client }, h(Probe))));
    const { client } = await when(isOpen);
    assert.equal(client, made.client);
    connection.send(message(1));
    assert.equal(await messages.next(), 1);
    unmount();
    connection.send(message(2));
    connection.send(message(3));
    for (const data of [1, 2, 3]) assert.equal((await made.next('message')).data, data);
    assert.equal(made.client.status, 'open');
    assert.deepEqual(messages.drain(), []);
  });
});

describe('an error', TIMEOUT, () => {
  const hears = () => h(listener().Probe);
  const cases = {
    'without url and client': {
      element: h(WebSocketProvider),
      code: 'ERR_INVALID_ARG',
      says: /needs url or client/,
    },
    'for url and client': {
      element: h(WebSocketProvider, { url: 'ws://x', client: {} }),
      code: 'ERR_INVALID_ARG',
      says: /takes no url/,
    },
    'for options beside client': {
      element: provide({ client: {} }),
      code: 'ERR_INVALID_ARG',
      says: /takes no WebSocket/,
    },
    'for an option that does not exist': {
      element: provide({ url: 'ws://x', tokens: '' }, hears()),
      code: 'ERR_UNKNOWN_OPTION',
      says: /tokens/,
    },
    'for a url of another kind': {
      element: provide({ url: 'ftp://x' }, hears()),
      code: 'ERR_INVALID_ARG',
      says: /ftp:\/\/x/,
    },
    'without a provider': { element: hears(), code: 'ERR_NO_PROVIDER', says: /no <WebSocketProvider>/ },
  };
  for (const [name, { element, code, says }] of Object.entries(cases)) {
    test(`comes ${name}`, async () => {
      const errors = new Inbox();
      show(h(Boundary, { errors }, element));
      const error = await errors.next();
      assert.equal(error.code, code);
      assert.match(error.message, says);
      assert.ok(complained().length > 0);
    });
  }
});
