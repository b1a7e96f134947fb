// Holds client/index.d.mts to how the client is used.

import {
  type ClientMessage,
  type CoreClient,
  type closeAdvice,
  WebSocketClient,
} from '@actory/websocket/client';
import { WebSocket } from 'ws';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(..._: Same<A, B> extends true ? [] : ['types differ']): void {}

const client = new WebSocketClient('wss://example.com');
new WebSocketClient(new URL('wss://example.com'), {
  token: async () => 'token',
  reconnect: { minMs: 1 },
  queueBytes: 1,
  silenceMs: 1,
  WebSocket,
});
new WebSocketClient('', { token: () => 'token', WebSocket: globalThis.WebSocket });
new WebSocketClient('', { token: 'token', reconnect: undefined });
// @ts-expect-error a url is needed
new WebSocketClient();
// @ts-expect-error misspelt
new WebSocketClient('', { tokens: '' });
// @ts-expect-error no number
new WebSocketClient('', { silenceMs: '1s' });
// @ts-expect-error a class is needed
new WebSocketClient('', { WebSocket: () => 0 });

const off = client.on('message', (message) => {
  same<typeof message, ClientMessage>();
  same<typeof message.data, unknown>();
  same<typeof message.room, string | undefined>();
});
same<typeof off, () => void>();
client.on('missed', ({ topic, reason }) => {
  same<typeof topic, string>();
  // @ts-expect-error no such reason
  reason === 'tired';
});
client.on('status', (status) => same<typeof status, 'connecting' | 'open' | 'waiting' | 'closed'>());
client.on('error', ({ code, closeCode }) => {
  same<typeof code, string>();
  same<typeof closeCode, number | undefined>();
});
client.on('joined', ({ room }) => same<typeof room, string>());
client.on('left', ({ room }) => same<typeof room, string>());
// @ts-expect-error no such event
client.on('open', () => {});

client.send({ hello: 'world' });
client.send(new Uint8Array(1));
client.send(new ArrayBuffer(1));
same<Promise<void>, ReturnType<typeof client.send>>();
client.request<{ seat: number }>({ op: 'reserve' }, { timeoutMs: 5 }).then(({ seat }) => seat.toFixed());
client.request(1, { signal: new AbortController().signal });
// @ts-expect-error no such option
client.request(1, { timeout: 5 });
same<[Promise<void>, Promise<void>], [ReturnType<typeof client.join>, ReturnType<typeof client.leave>]>();
const core: CoreClient = client;
// @ts-expect-error the core makes no requests
core.request(1);
same<typeof client.rooms, string[]>();
same<typeof client.userId, string | undefined>();
same<ReturnType<typeof closeAdvice>, 'reconnect' | 'refresh' | 'stop'>();
// @ts-expect-error read only
client.status = 'open';
