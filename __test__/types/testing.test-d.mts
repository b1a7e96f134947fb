// Holds testing/index.d.ts to how it is used.

import { createServer } from 'node:http';
import type { WebSocketManager } from '@actory/websocket';
import type { WebSocketClient } from '@actory/websocket/client';
import { createTestServer, type TestClient, type TestServer } from '@actory/websocket/testing';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(..._: Same<A, B> extends true ? [] : ['types differ']): void {}

const app = await createTestServer();
same<typeof app, TestServer<unknown>>();
same<typeof app.manager, WebSocketManager<unknown>>();
same<typeof app.url, string>();
await using _ended = await createTestServer({
  server: createServer(),
  timeoutMs: 100,
  history: true,
  auth: undefined,
});
const typed = await createTestServer({
  auth: { authenticate: () => ({ userId: '1', data: { role: 'admin' } }) },
});
typed.manager.on('connection', ({ data }) => same<typeof data, { role: string }>());
// @ts-expect-error misspelt
createTestServer({ servers: createServer() });
// @ts-expect-error no number
createTestServer({ timeoutMs: '1s' });

same<ReturnType<typeof app.tokenFor>, string>();
const { close, connect, tokenFor } = app;
tokenFor(7, { role: 'admin', exp: 1 });
// @ts-expect-error a user is needed
tokenFor();

const ada = await connect('ada');
same<typeof ada, TestClient>();
const asClient: WebSocketClient = ada;
await connect();
await connect(undefined, { token: 'token' });
await connect(7, { silenceMs: 1 });
// @ts-expect-error misspelt
connect('ada', { tokens: '' });

same<typeof ada.messages, unknown[]>();
same<Awaited<ReturnType<typeof ada.next<{ n: number }>>>, { n: number }>();
const told = await ada.next<{ n: number }>(({ n }, { room }) => n > 1 && room === 'tea', { timeoutMs: 1 });
same<typeof told, { n: number }>();
const { anything } = await ada.next({ timeoutMs: 1 });
// @ts-expect-error no predicate
ada.next(1);
// @ts-expect-error read only
ada.messages = [];
same<ReturnType<typeof close>, Promise<void>>();

export { anything, asClient };
