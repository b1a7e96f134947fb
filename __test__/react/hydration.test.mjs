// A page that a server rendered, and that connects once it is hydrated.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fragment, createElement as h, StrictMode } from 'react';
import { renderToString } from 'react-dom/server';
import { useRequest, useRoom, useWebSocket, WebSocketProvider } from '../../react/index.mjs';
import { client as makeClient, peer } from '../client/support/lab.mjs';
import { probe, provide, show } from './support/stage.mjs';

const TIMEOUT = { timeout: 20_000 };
const BEFORE = '<p>connecting, nobody, not in tea, idle</p>';
const AFTER = '<p>open, 42, in tea, idle</p>';

/** A component that shows all that hooks say. */
function badge() {
  return probe(() => {
    const { status, userId = 'nobody' } = useWebSocket();
    const { joined } = useRoom('tea', { onMessage: () => {} });
    const { isPending } = useRequest();
    return `${status}, ${userId}, ${joined ? 'in' : 'not in'} tea, ${isPending ? 'pending' : 'idle'}`;
  });
}

const tea = { topic: 'room:tea', position: null };
const opened = (result) => result.startsWith('open, 42, in tea');

for (const [name, mode] of [
  ['', Fragment],
  [', in StrictMode', StrictMode],
]) {
  test(`a page is hydrated without a complaint, and connects then${name}`, TIMEOUT, async () => {
    const server = await peer();
    const { Probe, when, results } = badge();
    const element = h(mode, null, provide({ url: server.url }, h(Probe)));
    const html = renderToString(element);
    assert.equal(html, BEFORE);
    assert.deepEqual(server.connections.drain(), []);
    const { container, errors } = show(element, html);
    const paragraph = container.firstChild;
    assert.match(await results.next(), /^connecting/);
    (await server.next()).hello(tea);
    await when(opened);
    assert.equal(container.innerHTML, AFTER);
    // The server's, not one in its place.
    assert.equal(container.firstChild, paragraph);
    assert.deepEqual(errors, []);
  });
}

test('a page is hydrated without a complaint with a client that is open already', TIMEOUT, async () => {
  const server = await peer();
  const { client, status } = makeClient(server.url);
  (await server.next()).hello(tea);
  await status('open');
  const { Probe, when } = badge();
  const element = h(WebSocketProvider, { client }, h(Probe));
  const html = renderToString(element);
  assert.equal(html, BEFORE);
  const { container, errors } = show(element, html);
  await when(opened);
  assert.equal(container.innerHTML, AFTER);
  assert.deepEqual(errors, []);
});
