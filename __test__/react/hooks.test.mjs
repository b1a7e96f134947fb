// Components hear messages, from the server of the package.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as React from 'react';
import { createElement as h, StrictMode } from 'react';
import { useMessages, useMissed, useRoom, useWebSocket } from '../../react/index.mjs';
import { Inbox } from '../client/support/inbox.mjs';
import { keep, peer } from '../client/support/lab.mjs';
import { serve } from '../client/support/server.mjs';
import { Tunnel } from '../client/support/tunnel.mjs';
import { probe, provide, show } from './support/stage.mjs';

const TIMEOUT = { timeout: 20_000 };
const isOpen = ({ status }) => status === 'open';
const joined = (state) => state.joined;

/** A manager, and where a page finds it. */
async function meet(query = 'user=ada&room=tea', options = undefined) {
  const { manager, port } = await serve(options);
  const tunnel = keep(await new Tunnel(() => port).listen());
  return { manager, tunnel, url: new URL(`/api/websocket?${query}`, tunnel.url) };
}

/** A component that is in `room`, and puts what it hears into `heard` under its name. */
function member(heard = new Inbox()) {
  const made = probe(({ room, name }) =>
    useRoom(room, {
      onMessage: ({ data }) => heard.push([name, data]),
      onMissed: ({ reason }) => heard.push([name, reason]),
    }),
  );
  return { ...made, Room: made.Probe, heard };
}

describe('useRoom with join', TIMEOUT, () => {
  const joiner = () => probe(({ room }) => useRoom(room, { join: true }));

  test('is in the room as long as a component wants it, also in StrictMode', async () => {
    let asked = 0;
    const authorize = { join: () => ++asked > 0 };
    const { manager, url } = await meet('user=ada', { authorize });
    const { Probe: Room, when } = joiner();
    const stage = (...names) =>
      h(StrictMode, null, provide({ url }, ...names.map((name) => h(Room, { key: name, room: 'tea' }))));
    const { render } = show(stage('a', 'b'));
    await when(joined);
    assert.equal(manager.connections.inRoom('tea').length, 1);
    render(stage('b'));
    await when(joined);
    assert.equal(manager.connections.inRoom('tea').length, 1);
    render(stage());
    while (manager.connections.inRoom('tea').length > 0) await new Promise(setImmediate);
    assert.equal(asked, 1);
    render(stage('c'));
    while (manager.connections.inRoom('tea').length === 0) await new Promise(setImmediate);
  });

  test('tells why it may not be in a room, and forgets that with the next room', async () => {
    const { url } = await meet('user=ada', { authorize: { join: (_, room) => room === 'tea' } });
    const { Probe: Room, when } = joiner();
    const { render } = show(provide({ url }, h(Room, { room: 'secret' })));
    const { error } = await when((state) => state.error !== undefined);
    assert.equal(error.code, 'ERR_JOIN_REFUSED');
    render(provide({ url }, h(Room, { room: 'tea' })));
    assert.equal((await when(joined)).error, undefined);
  });
});

describe('a room that a component joins', TIMEOUT, () => {
  test('is joined again when the component is hidden and shown with its provider', {
    skip: !React.Activity,
  }, async () => {
    const { manager, url } = await meet('user=ada', { authorize: { join: () => true } });
    const heard = new Inbox();
    const {
      Probe: Room,
      when,
      results,
    } = probe(() => useRoom('tea', { join: true, onMessage: ({ data }) => heard.push(data) }));
    const ended = new Inbox();
    manager.on('disconnect', () => ended.push('ended'));
    const stage = (mode) => h(React.Activity, { mode }, provide({ url }, h(Room)));
    const { render } = show(stage('visible'));
    await when(joined);
    render(stage('hidden'));
    await ended.next();
    results.drain();
    render(stage('visible'));
    await when(joined);
    await manager.sendToRoom('tea', 1);
    assert.equal(await heard.next(), 1);
  });
});

describe('useRoom', TIMEOUT, () => {
  test('hears the messages of its room alone', async () => {
    const { manager, url } = await meet('user=ada&room=tea&room=milk');
    const { Room, when, heard } = member();
    show(h(StrictMode, null, provide({ url }, h(Room, { room: 'tea', name: 'a' }))));
    await when(joined);
    await manager.sendToRoom('milk', 1);
    await manager.sendToUser('ada', 2);
    await manager.sendToRoom('tea', 3);
    await manager.sendToRoom('tea', 4);
    assert.deepEqual(
      [await heard.next(), await heard.next()],
      [
        ['a', 3],
        ['a', 4],
      ],
    );
  });

  test('is heard by each component, until that is unmounted', async () => {
    const { manager, url } = await meet();
    const { Room, when, heard } = member();
    const stage = (...names) =>
      provide({ url }, ...names.map((name) => h(Room, { key: name, room: 'tea', name })));
    const { render } = show(stage('a', 'b'));
    await when(joined);
    await when(joined);
    await manager.sendToRoom('tea', 1);
    assert.deepEqual(
      [await heard.next(), await heard.next()],
      [
        ['a', 1],
        ['b', 1],
      ],
    );
    render(stage('b'));
    await when(joined);
    await manager.sendToRoom('tea', 2);
    await manager.sendToRoom('tea', 3);
    assert.deepEqual(
      [await heard.next(), await heard.next()],
      [
        ['b', 2],
        ['b', 3],
      ],
    );
  });

  test('calls the callbacks of the last render', async () => {
    const { manager, url } = await meet();
    const { Room, when, heard, results } = member();
    const stage = (name) => provide({ url }, h(Room, { room: 'tea', name }));
    const { render } = show(stage('first'));
    await when(joined);
    await manager.sendToRoom('tea', 1);
    assert.deepEqual(await heard.next(), ['first', 1]);
    results.drain();
    render(stage('second'));
    await when(joined);
    await manager.sendToRoom('tea', 2);
    assert.deepEqual(await heard.next(), ['second', 2]);
  });

  test('says that the client joined and left', async () => {
    const { manager, url } = await meet('user=ada');
    const { Room, when } = member();
    show(provide({ url }, h(Room, { room: 'tea', name: 'a' })));
    await when((state) => !state.joined);
    const connection = await new Promise((resolve) => {
      const [there] = manager.connections;
      if (there) resolve(there);
      else manager.once('connection', resolve);
    });
    connection.join('tea');
    await when(joined);
    connection.leave('tea');
    await when((state) => !state.joined);
  });

  test('takes another room, and none', async () => {
    const { manager, url } = await meet('user=ada&room=tea&room=milk');
    const { Room, when, heard, results } = member();
    const { Probe, when: whenState } = probe(() => {
      useMessages(({ data }) => heard.push(['user', data]));
      return useWebSocket();
    });
    const stage = (room) => provide({ url }, h(Probe), h(Room, { room, name: 'a' }));
    const { render } = show(stage(null));
    assert.equal((await when(() => true)).joined, false);
    await whenState(isOpen);
    await manager.sendToRoom('tea', 'to none');
    await manager.sendToUser('ada', 'then');
    assert.deepEqual(await heard.next(), ['user', 'then']);
    results.drain();
    render(stage('tea'));
    await when(joined);
    await manager.sendToRoom('tea', 'to tea');
    assert.deepEqual(await heard.next(), ['a', 'to tea']);
    results.drain();
    render(stage('milk'));
    await when(joined);
    await manager.sendToRoom('tea', 'late');
    await manager.sendToRoom('milk', 'to milk');
    assert.deepEqual(await heard.next(), ['a', 'to milk']);
    results.drain();
    render(stage(undefined));
    await when((state) => !state.joined);
    await manager.sendToRoom('milk', 'late');
    await manager.sendToUser('ada', 'at last');
    assert.deepEqual(await heard.next(), ['user', 'at last']);
    results.drain();
    render(stage('tea'));
    await when(joined);
    await manager.sendToRoom('tea', 'again');
    assert.deepEqual(await heard.next(), ['a', 'again']);
  });

  test('hears what was sent while the page was away, in order and once', async () => {
    const { manager, tunnel, url } = await meet();
    const { Room, when, heard } = member();
    const { Probe, when: whenState } = probe(useWebSocket);
    show(h(StrictMode, null, provide({ url }, h(Room, { room: 'tea', name: 'a' }), h(Probe))));
    await when(joined);
    for (let number = 0; number < 20; number += 1) {
      if (number === 10) {
        tunnel.cut();
        await whenState(({ status }) => status !== 'open');
      }
      await manager.sendToRoom('tea', number);
    }
    for (let number = 0; number < 20; number += 1) assert.deepEqual(await heard.next(), ['a', number]);
  });

  test('hears what is missing of its room alone', async () => {
    const server = await peer();
    const { Room, when, heard } = member();
    show(provide({ url: server.url }, h(Room, { room: 'tea', name: 'a' })));
    const connection = (await server.next()).hello(
      { topic: 'room:tea', position: null },
      { topic: 'room:milk', position: null },
    );
    await when(joined);
    connection.send({ type: 'missed', topic: 'room:milk', reason: 'trimmed' });
    connection.send({ type: 'missed', topic: 'room:tea', reason: 'emptied' });
    assert.deepEqual(await heard.next(), ['a', 'emptied']);
  });

  test('whose callback throws keeps no other component from its messages', async () => {
    const reported = new Inbox();
    // Of node:test's own, which would fail the test.
    const others = process.rawListeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => reported.push(error.message));
    try {
      const { manager, url } = await meet();
      const { Probe: Broken } = probe(() =>
        useRoom('tea', {
          onMessage: () => {
            throw new Error('broken');
          },
        }),
      );
      const { Room, when, heard } = member();
      show(provide({ url }, h(Broken), h(Room, { room: 'tea', name: 'a' })));
      await when(joined);
      await manager.sendToRoom('tea', 1);
      assert.deepEqual(await heard.next(), ['a', 1]);
      assert.equal(await reported.next(), 'broken');
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const other of others) process.on('uncaughtException', other);
    }
  });
});

describe('useMessages', TIMEOUT, () => {
  test('hears what is of no room, or of one topic', async () => {
    const { manager, url } = await meet('user=ada&room=tea', { history: true });
    manager.on('connection', (connection) => connection.send({ to: 'connection' }));
    const heard = new Inbox();
    const { Probe, when } = probe(() => {
      useMessages(({ data, topic }) => heard.push(['none', topic, data]));
      useMessages(({ data }) => heard.push(['user', data]), { topic: 'user' });
      useMessages(({ data }) => heard.push(['tea', data]), { topic: 'room:tea' });
      return useWebSocket();
    });
    show(provide({ url }, h(Probe)));
    await when(isOpen);
    assert.deepEqual(await heard.next(), ['none', undefined, { to: 'connection' }]);
    await manager.sendToRoom('tea', 1);
    assert.deepEqual(await heard.next(), ['tea', 1]);
    await manager.sendToUser('ada', 2);
    assert.deepEqual(
      [await heard.next(), await heard.next()],
      [
        ['none', 'user', 2],
        ['user', 2],
      ],
    );
  });
});

describe('useMissed', TIMEOUT, () => {
  test('hears what is missing of all topics, or of one', async () => {
    const server = await peer();
    const heard = new Inbox();
    const { Probe, when } = probe(() => {
      useMissed(({ topic, reason }) => heard.push([topic, reason]));
      useMissed(({ reason }) => heard.push(['milk', reason]), { topic: 'room:milk' });
      return useWebSocket();
    });
    show(provide({ url: server.url }, h(Probe)));
    const topics = ['user', 'room:tea', 'room:milk'];
    const connection = (await server.next()).hello(...topics.map((topic) => ({ topic, position: null })));
    await when(isOpen);
    for (const topic of topics) connection.send({ type: 'missed', topic, reason: 'trimmed' });
    for (const topic of [...topics, 'milk']) assert.deepEqual(await heard.next(), [topic, 'trimmed']);
  });
});
