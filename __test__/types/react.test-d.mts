// Holds react/index.d.mts to how the hooks are used.

import {
  type ClientMessage,
  type ClientMissed,
  type ClientStatus,
  WebSocketClient,
} from '@actory/websocket/client';
import {
  type RequestFailure,
  useMessages,
  useMissed,
  useRequest,
  useRoom,
  useWebSocket,
  WebSocketProvider,
  type WebSocketProviderProps,
} from '@actory/websocket/react';
import { createElement } from 'react';
import { WebSocket } from 'ws';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(..._: Same<A, B> extends true ? [] : ['types differ']): void {}

const given = new WebSocketClient('wss://example.com');
createElement(WebSocketProvider, { url: '/api/websocket' }, 'text');
createElement(WebSocketProvider, { url: new URL('wss://example.com'), token: async () => 'token' });
createElement(WebSocketProvider, { client: given }, 'text', null);
const all: WebSocketProviderProps = {
  url: '',
  token: 'token',
  reconnect: { minMs: 1 },
  queueBytes: 1,
  silenceMs: 1,
  WebSocket,
  children: undefined,
};
createElement(WebSocketProvider, all);
// @ts-expect-error a url or a client is needed
createElement(WebSocketProvider, {});
// @ts-expect-error one of them
createElement(WebSocketProvider, { url: '', client: given });
// @ts-expect-error the client has its own token
createElement(WebSocketProvider, { client: given, token: 'token' });
// @ts-expect-error misspelt
createElement(WebSocketProvider, { url: '', tokens: 'token' });

export function Page(): null {
  const { client, status, userId } = useWebSocket();
  same<typeof client, WebSocketClient>();
  same<typeof status, ClientStatus>();
  same<typeof userId, string | undefined>();

  const { joined } = useRoom('tea', {
    onMessage: (message) => same<typeof message, ClientMessage<unknown>>(),
    onMissed: (missed) => same<typeof missed, ClientMissed>(),
  });
  same<typeof joined, boolean>();
  useRoom(null);
  useRoom(undefined, { onMessage: undefined });
  useRoom<{ text: string }>('tea', { onMessage: ({ data }) => same<typeof data, { text: string }>() });
  // @ts-expect-error a name is needed
  useRoom(7);
  // @ts-expect-error misspelt
  useRoom('tea', { onMessages: () => {} });

  useMessages((message) => same<typeof message, ClientMessage<unknown>>());
  useMessages<number>(({ data }) => same<typeof data, number>(), { topic: 'user' });
  // @ts-expect-error a callback is needed
  useMessages();
  useMissed(({ topic }) => same<typeof topic, string>(), { topic: undefined });
  // @ts-expect-error no such option
  useMissed(() => {}, { room: 'tea' });

  const plain = useRequest();
  same<typeof plain.data, unknown>();
  same<typeof plain.error, RequestFailure | undefined>();
  plain.send({ op: 'reserve' });
  same<ReturnType<typeof plain.send>, void>();
  const typed = useRequest<{ seat: string }, { row: number }>({ timeoutMs: 1 });
  same<typeof typed.data, { seat: string } | undefined>();
  same<typeof typed.isPending, boolean>();
  typed.send({ row: 4 });
  typed.reset();
  // @ts-expect-error no row
  typed.send({});
  // @ts-expect-error no number
  useRequest({ timeoutMs: '1s' });
  return null;
}
