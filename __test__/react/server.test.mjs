// Rendering on a server, which has no page: nothing connects there.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createElement as h } from 'react';
import { renderToString } from 'react-dom/server';
import {
  useMessages,
  useMissed,
  useRequest,
  useRoom,
  useWebSocket,
  WebSocketProvider,
} from '../../react/index.mjs';

let made = 0;
class Forbidden {
  constructor() {
    made += 1;
  }
}

function Page() {
  const { status, userId, client } = useWebSocket();
  const { joined } = useRoom('tea');
  const { data, error, isPending } = useRequest();
  useMessages(() => {});
  useMissed(() => {});
  return JSON.stringify([status, userId, client.rooms, client.clockOffset, joined, data, error, isPending]);
}

describe('on a server', () => {
  test('all is there, as a page has it first', async () => {
    assert.equal(globalThis.document, undefined);
    const tokens = [];
    // A url that only a page can resolve.
    const props = { url: '/api/websocket', token: () => tokens.push(1), WebSocket: Forbidden };
    const html = renderToString(h(WebSocketProvider, props, h(Page)));
    const text = html.replaceAll('&quot;', '"');
    assert.deepEqual(JSON.parse(text), ['connecting', null, [], 0, false, null, null, false]);
    // The client takes one turn to ask for the token, and one for its socket.
    await new Promise(setImmediate);
    assert.deepEqual([made, tokens.length], [0, 0]);
  });

  for (const [name, use] of Object.entries({
    send: (client) => client.send(1),
    request: (client) => client.request(1),
    reconnect: (client) => client.reconnect(),
    close: (client) => client.close(),
  })) {
    test(`client.${name}() says that it is too early`, () => {
      const Early = () => {
        use(useWebSocket().client);
        return null;
      };
      const element = h(WebSocketProvider, { url: 'ws://127.0.0.1:1/', WebSocket: Forbidden }, h(Early));
      assert.throws(() => renderToString(element), { code: 'ERR_NOT_MOUNTED' });
      assert.equal(made, 0);
    });
  }
});
