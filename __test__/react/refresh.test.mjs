// Fast refresh: a component is edited while its page is open.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fragment, createElement as h, StrictMode, useEffect } from 'react';
import { useRoom, useWebSocket } from '../../react/index.mjs';
import { Inbox } from '../client/support/inbox.mjs';
import { client, peer } from '../client/support/lab.mjs';
import { page } from './support/refresh.mjs';
import { probe, provide, show } from './support/stage.mjs';

const TIMEOUT = { timeout: 20_000 };

for (const [name, mode] of [
  ['', Fragment],
  [', in StrictMode', StrictMode],
]) {
  test(`an edited component hears with its new code, over the same connection${name}`, TIMEOUT, async () => {
    const server = await peer();
    const heard = new Inbox();
    const versions = new Inbox();
    const { Probe, when } = probe(useWebSocket);
    /** The module of the page, as the bundler runs it again after each edit. */
    const load = (version) => {
      function Room() {
        useRoom('tea', { onMessage: ({ data }) => heard.push([version, data]) });
        useEffect(() => versions.push(version));
        return null;
      }
      function Page() {
        return provide({ url: server.url }, h(Room), h(Probe));
      }
      page.register(Room, `Room${name}`, 'useRoom{} useEffect{}');
      page.register(Page, `Page${name}`, '');
      return Page;
    };
    show(h(mode, null, h(load('first'))));
    const connection = (await server.next()).hello({ topic: 'room:tea', position: null });
    await when(({ status }) => status === 'open');
    const tea = (data) => connection.send({ type: 'message', topic: 'room:tea', data });
    tea(1);
    assert.deepEqual(await heard.next(), ['first', 1]);
    load('second');
    page.refresh();
    await versions.find((version) => version === 'second');
    tea(2);
    assert.deepEqual(await heard.next(), ['second', 2]);
    client(server.url, { token: 'sentinel' });
    assert.equal((await server.next()).offered.at(-1), 'sentinel');
  });
}
