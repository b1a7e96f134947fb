// Holds index.d.ts to how the package is used: what compiles here has to, and what is marked must not.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createSecureServer as createHttp2Server } from 'node:http2';
import { createServer as createSecureServer } from 'node:https';
import {
  type BrokerState,
  type CloseAdvice,
  CloseCode,
  type CloseCounts,
  type ClosedBy,
  type Connection,
  type ConnectionCount,
  type ConnectionManager,
  type ConnectionRequest,
  closeAdvice,
  type Delivery,
  ErrorCode,
  getWebSocketManager,
  type HistoryPage,
  type HistoryTopic,
  type Identity,
  type MessageInfo,
  type MessageListener,
  type Missed,
  type MissedReason,
  RedisPubSub,
  RequestError,
  type Sendable,
  type Shutdown,
  type ShutdownOptions,
  type Stats,
  shutdownOnSignals,
  UpgradeRefusal,
  type WebSocketError,
  WebSocketManager,
  type WebSocketManagerListener,
  type WebSocketManagerOptions,
} from '../../index.js';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(..._: Same<A, B> extends true ? [] : ['types differ']): void {}

const server = createServer();

// Construction
new WebSocketManager(server);
new WebSocketManager(createSecureServer(), {});
new WebSocketManager(createHttp2Server({ allowHTTP1: true }), {});
shutdownOnSignals(createHttp2Server({ allowHTTP1: true }));
new WebSocketManager(server, { auth: 'anonymous', name: undefined, limits: undefined });
new WebSocketManager(null, { redis: { url: 'redis://localhost' } });
// @ts-expect-error nothing is not `null`
new WebSocketManager(undefined);
// @ts-expect-error a server is needed, or `null`
new WebSocketManager();
// @ts-expect-error a port is no server
new WebSocketManager(3000);
// @ts-expect-error there are no proxies that everybody may be
new WebSocketManager(server, { trustProxy: true });
// @ts-expect-error misspelt
new WebSocketManager(server, { pth: '/ws' });
// @ts-expect-error 'anyone' is no auth
new WebSocketManager(server, { auth: 'anyone' });
new WebSocketManager(server, { redis: false });
// @ts-expect-error true says nothing
new WebSocketManager(server, { redis: true });
// @ts-expect-error 'both' is no routing
new WebSocketManager(server, { redis: { routing: 'both' } });
// @ts-expect-error null is no default
new WebSocketManager(server, { name: null });

// Handshake
const asked = new WebSocketManager(server, {
  keepHeaders: ['user-agent'],
  auth: {
    async authenticate({ headers, signal }) {
      same<typeof signal, AbortSignal>();
      if (signal.aborted) throw new UpgradeRefusal();
      if (headers.cookie === undefined)
        return new UpgradeRefusal({
          status: 402,
          code: 'PLAN_EXPIRED',
          headers: { 'Set-Cookie': ['a', 'b'] },
        });
      return { userId: 1, data: { plan: 'free' }, protocol: 'v2', headers: new Headers({ a: 'b' }) };
    },
  },
});
asked.on('connection', ({ data, request }) => {
  same<typeof data.plan, string>();
  same<typeof request, ConnectionRequest | undefined>();
  same<string | undefined, NonNullable<typeof request>['headers'][string]>();
  // @ts-expect-error it was what it was
  if (request) request.url = '/';
});
asked.on('refused', ({ code }) => same<typeof code, ErrorCode | (string & {})>());
// @ts-expect-error a status is a number
new UpgradeRefusal({ status: '402' });
// @ts-expect-error a header is text
new UpgradeRefusal({ headers: { 'Retry-After': 5 } });

// Options
const complete: Required<WebSocketManagerOptions> = {
  name: 'default',
  path: '/api/websocket',
  protocols: ['chat'] as const,
  keepHeaders: ['user-agent'] as const,
  auth: { jwt: { secret: 'x', algorithms: ['HS512'], issuer: 'me', audience: ['a', 'b'] as const } },
  rejectWith: 'close',
  allowedOrigins: ['https://*.example.com'],
  trustProxy: ['10.0.0.0/8', 'unix'],
  proxyHeader: 'forwarded',
  heartbeat: { intervalMs: 30_000, timeoutMs: 10_000 },
  limits: { maxPayload: 1, eventBytes: 65_536 },
  authorize: { claim: 'rooms', join: () => true },
  history: { size: 50, ttlMs: 60_000, users: true, rooms: { 'chat:*': true }, trustFailover: false },
  redis: { url: ['redis://a', 'redis://b'] as const, prefix: 'app', routing: 'user', tls: { ca: 'pem' } },
  relay: false,
  threads: 2,
};
new WebSocketManager(server, complete);
const jwt = (options: WebSocketManagerOptions['auth']) => options;
jwt({ jwt: { secret: new Uint8Array(32), userIdClaim: 'uid', leewaySeconds: 0, requireExp: false } });
jwt({ jwt: { publicKey: 'pem', algorithms: ['RS256', 'PS256'], cookie: 'session', query: 'token' } });
// @ts-expect-error one of both keys
jwt({ jwt: { secret: 'x', publicKey: 'y' } });
jwt({ jwt: { secret: process.env.JWT_SECRET } });
new WebSocketManager(server, { auth: { jwt: { secret: process.env.JWT_SECRET } } });
jwt({ jwt: { secret: 'x', audience: false, allowShortSecret: true } });
// @ts-expect-error an audience, several, or none
jwt({ jwt: { secret: 'x', audience: true } });
// @ts-expect-error only a secret can be short
jwt({ jwt: { publicKey: 'pem', allowShortSecret: true } });
// @ts-expect-error one of both keys
jwt({ jwt: {} });
// @ts-expect-error HMAC with a public key
jwt({ jwt: { publicKey: 'y', algorithms: ['HS256'] } });
// @ts-expect-error not supported
jwt({ jwt: { publicKey: 'y', algorithms: ['ES512'] } });
// @ts-expect-error no such relay
new WebSocketManager(server, { relay: 'all' });
// @ts-expect-error true says nothing
new WebSocketManager(server, { relay: true });
// @ts-expect-error seconds are a number
new WebSocketManager(server, { heartbeat: { intervalMs: '30s' } });
// @ts-expect-error misspelt
new WebSocketManager(server, { limits: { maxPayLoad: 1 } });

// Identities, and the type of data that follows from them
interface Session {
  theme: string;
}
const manager = new WebSocketManager(server, {
  auth: {
    async authenticate({ url, method, headers, remoteAddress }) {
      same<[typeof url, typeof method, typeof remoteAddress], [string, string, string]>();
      if (headers.authorization === undefined) return null;
      const data: Session = { theme: 'dark' };
      return { userId: 42, rooms: ['a', 7], expiresAt: new Date(), data };
    },
  },
});
same<typeof manager, WebSocketManager<Session>>();
new WebSocketManager(server, { auth: { authenticate: () => false } });
new WebSocketManager(server, { auth: { authenticate: () => ({ userId: 'x' }) } });
// @ts-expect-error userId is missing
new WebSocketManager(server, { auth: { authenticate: () => ({ user: 'x' }) } });
// @ts-expect-error true is no identity
new WebSocketManager(server, { auth: { authenticate: () => true } });
// @ts-expect-error a Date, not a number
({ userId: 'x', expiresAt: 5 }) satisfies Identity;

// Events
manager.on('connection', (connection) => {
  same<typeof connection, Connection<Session>>();
  connection.data.theme = 'light';
  // @ts-expect-error not in Session
  connection.data.colour = 'red';
  // @ts-expect-error read-only
  connection.userId = 'other';
  // @ts-expect-error read-only
  connection.rooms = [];
});
manager.once('message', async (connection, data, isBinary) => {
  same<typeof data, string | Buffer>();
  if (isBinary) same<typeof data, Buffer>();
  else same<typeof data, string>();
  connection.send(data);
});
manager.prependListener('disconnect', (connection, code, reason, by) => {
  same<[typeof connection, typeof code, typeof reason], [Connection<Session>, number, string]>();
  same<typeof by, ClosedBy>();
  same<ClosedBy, 'peer' | 'server' | 'network'>();
});
manager.addListener(
  'slow',
  (_connection, { droppedBytes, droppedMessages }) => droppedBytes + droppedMessages,
);
manager.prependOnceListener('broker', ({ state }) => same<typeof state, BrokerState>());
manager.on('error', (error) => {
  same<typeof error, WebSocketError>();
  if (error.code === ErrorCode.ERR_LISTENER) console.error(error.cause);
});
manager
  .off('message', () => {})
  .removeListener('error', () => {})
  .removeAllListeners('slow')
  .removeAllListeners();
// Listeners of `message` with fewer parameters, and such that have types of their own
manager
  .on('message', () => {})
  .on('message', (connection) => same<typeof connection, Connection<Session>>())
  .on('message', (connection, data) => {
    same<typeof data, string | Buffer>();
    connection.send(data);
  })
  .on('message', async (_connection, data, isBinary) => (isBinary ? data.byteLength : data.trim()));
manager.on('message', (_connection, data, isBinary, info?: MessageInfo) => {
  if (isBinary) same<typeof data, Buffer>();
  else same<typeof data, string>();
  same<typeof info, MessageInfo | undefined>();
});
manager.off(
  'message',
  (connection: Connection<Session>, _data: string | Buffer, _: boolean, info?: MessageInfo) =>
    connection.send(info?.id ?? ''),
);
new WebSocketManager<Session>(server, {
  authorize: { claim: 'rooms', join: async ({ userId }, room) => userId === room },
});
// @ts-expect-error a function
new WebSocketManager(server, { authorize: { join: true } });
const off = manager.onRequest(async (connection, data, { id }) => {
  same<[typeof connection, typeof id], [Connection<Session>, string]>();
  if (data.op !== 'x') throw new RequestError('UNKNOWN_OP', 'no such operation');
  return { seat: 1 };
});
same<typeof off, () => void>();
// @ts-expect-error a code is needed
new RequestError();
// @ts-expect-error a function
manager.onRequest(1);
const written = (connection: Connection<Session>, data: string | Buffer) => connection.send(data);
const flagged = async (_connection: Connection<Session>, _data: string | Buffer, _isBinary: boolean) => {};
const named: WebSocketManagerListener<'message', Session> = (connection, data) => connection.send(data);
const narrowing: MessageListener<Session> = (_connection, data, isBinary) => !isBinary && data.trim();
for (const method of [
  'on',
  'once',
  'off',
  'addListener',
  'removeListener',
  'prependListener',
  'prependOnceListener',
] as const) {
  manager[method]('message', () => {});
  manager[method]('message', (connection) => connection.id);
  manager[method]('message', (connection, data) => connection.send(data));
  manager[method]('message', (connection, data, isBinary) => !isBinary && connection.send(data.trim()));
  manager[method]('message', written);
  manager[method]('message', flagged);
  manager[method]('message', named);
  manager[method]('message', narrowing);
  // @ts-expect-error perhaps it is a Buffer
  manager[method]('message', (_connection: Connection<Session>, _data: string) => {});
}
manager.setMaxListeners(20).listenerCount('message');
// @ts-expect-error no such event
manager.on('mesage', () => {});
// @ts-expect-error one argument
manager.on('connection', (_connection, _more: string) => {});
// @ts-expect-error a code is a number
manager.on('disconnect', (_connection, _code: string) => {});

// Sending
async function send() {
  const delivery = await manager.sendToUser('u', { a: [1, null] }, { require: 'cluster' });
  same<typeof delivery, Delivery>();
  same<
    [Delivery['status'], Delivery['nodes'], Delivery['local'], Delivery['position'], Delivery['repeated']],
    ['published' | 'local' | 'uncertain', number | null, number, string | null, true | undefined]
  >();
  await manager.sendToUser(7, new Uint8Array(1));
  await manager.sendToRoom('r', Buffer.from('x'));
  await manager.broadcast(null);
  const everything: Sendable[] = [
    '',
    0,
    true,
    null,
    {},
    [],
    new DataView(new ArrayBuffer(1)),
    new SharedArrayBuffer(1),
  ];
  await manager.broadcast(everything);
  // @ts-expect-error JSON has nothing for it
  await manager.broadcast(undefined);
  // @ts-expect-error JSON has nothing for it
  await manager.broadcast(1n);
  // @ts-expect-error JSON has nothing for it
  await manager.broadcast(Symbol('x'));
  // @ts-expect-error no such requirement
  await manager.broadcast('', { require: 'all' });
  // @ts-expect-error a user id is a string or a number
  await manager.sendToUser(null, '');
  same<Delivery, Awaited<ReturnType<typeof manager.disconnectUser>>>();
  same<ConnectionCount, Awaited<ReturnType<typeof manager.countConnections>>>();
  same<number, Awaited<ReturnType<typeof manager.publish>>>();
  await manager.disconnectUser('u', 4999, 'bye');
  same<boolean, Awaited<ReturnType<typeof manager.isOnline>>>();
}

// Histories
new WebSocketManager(null, { history: true });
new WebSocketManager(null, { history: { size: 50, ttlMs: undefined, users: false, rooms: { size: 5 } } });
new WebSocketManager(null, { history: { rooms: { 'chat:*': { ttlMs: 60_000 }, '**': false } } });
// @ts-expect-error a number of messages is called size
new WebSocketManager(null, { history: 50 });
// @ts-expect-error what a pattern has is no number
new WebSocketManager(null, { history: { rooms: { 'chat:*': 5 } } });
// @ts-expect-error misspelt
new WebSocketManager(null, { history: { user: true } });
async function histories(userId: string, topic: HistoryTopic) {
  const page = await manager.history({ userId }, { after: undefined, limit: 5 });
  same<typeof page, HistoryPage>();
  same<[typeof page.position, typeof page.reason], [string | null, MissedReason | undefined]>();
  for (const { data, position } of page.messages)
    same<[typeof data, typeof position], [string | Buffer, string]>();
  await manager.history(topic, { after: page.position ?? undefined });
  await manager.history({ room: 7 });
  await manager.sendToRoom('r', '', { require: 'cluster', history: false, idempotencyKey: 'x' });
  // @ts-expect-error one of them
  await manager.history({ userId, room: 'r' });
  // @ts-expect-error one of them
  await manager.history({});
  // @ts-expect-error a broadcast is in no history
  await manager.broadcast('', { history: false });
  // @ts-expect-error a broadcast is in no history
  await manager.broadcast('', { idempotencyKey: 'x' });
}
manager.on('missed', (missed) => {
  same<typeof missed, Missed>();
  if (missed.userId !== undefined) return manager.connections.ofUser(missed.userId);
  same<[typeof missed.room, typeof missed.after], [string, string | null]>();
});

// Connections
function connections(all: ConnectionManager<Session>) {
  same<[typeof all.size, typeof all.userCount], [number, number]>();
  const list: Connection<Session>[] = [...all, ...all.ofUser('u'), ...all.inRoom(7)];
  const found = all.get('id');
  same<typeof found, Connection<Session> | undefined>();
  // @ts-expect-error perhaps there is none
  found.send('x');
  found?.join('r');
  found?.leave(7);
  found?.close(CloseCode.POLICY, 'reason');
  found?.terminate();
  const pinged: boolean | undefined = found?.ping(new Uint8Array(3));
  // @ts-expect-error a ping carries bytes
  found?.ping({ a: 1 });
  found?.pause();
  found?.resume();
  const paused: boolean | undefined = found?.isPaused;
  void [pinged, paused];
  manager.on('pong', (connection, data) => connection.send(data.subarray(1)));
  manager.on('drain', (connection) => connection.bufferedAmount.toFixed());
  same<number, ReturnType<typeof all.broadcast> | ReturnType<typeof all.sendToUser>>();
  same<string[], ReturnType<typeof all.users>>();
  // @ts-expect-error read-only
  all.size = 0;
  return list;
}
connections(manager.connections);

// Routing, finding, closing
server.on('upgrade', (req, socket, head) => {
  manager
    .handleUpgrade(req, socket, head)
    .then((connection) => same<typeof connection, Connection<Session>>());
  manager.handleUpgrade(req, socket, head, { userId: 'u', data: { theme: 'dark' } });
  // @ts-expect-error not a Session
  manager.handleUpgrade(req, socket, head, { userId: 'u', data: 5 });
});
same<WebSocketManager<Session>, ReturnType<typeof getWebSocketManager<Session>>>();
getWebSocketManager('admin').connections.size;
async function lifetime() {
  await using scoped = new WebSocketManager(server, { auth: 'anonymous' });
  await scoped.ready();
  const stats: Stats = scoped.stats();
  same<typeof stats.refused.ERR_BAD_KEY, number | undefined>();
  same<[typeof stats.closed, typeof stats.closedByPeer], [CloseCounts, CloseCounts]>();
  same<typeof stats.closed.other, number | undefined>();
  // Not by the grace of noUncheckedIndexedAccess, which applications may not have.
  same<CloseCounts[number], number | undefined>();
  await scoped.close({ drainMs: 1000, code: CloseCode.RESTART, reason: 'deploy' });
  // @ts-expect-error misspelt
  await scoped.close({ drain: 1000 });
  const [connection] = await once(scoped, 'connection');
  return connection;
}

// Codes
same<typeof CloseCode.SLOW_CONSUMER, 4004>();
same<typeof ErrorCode.ERR_CLOSED, 'ERR_CLOSED'>();
same<ReturnType<typeof closeAdvice>, CloseAdvice>();
closeAdvice(CloseCode.ABNORMAL, false);
// @ts-expect-error a number
closeAdvice('4001');
const code: CloseCode = 4004;
// @ts-expect-error no code of this package
const other: CloseCode = 4999;
// @ts-expect-error read-only
ErrorCode.ERR_CLOSED = 'ERR_CLOSED';

// Pub/Sub
async function channels() {
  new RedisPubSub();
  new RedisPubSub('redis://a');
  const pubsub = new RedisPubSub(undefined, { url: ['redis://a'], connections: 2 });
  await pubsub.initialize();
  same<number, Awaited<ReturnType<typeof pubsub.publish>>>();
  await pubsub.publish('orders', { id: 1 });
  await pubsub.subscribe('orders', (order) => console.log(order.id));
  await pubsub.subscribe<{ id: number }>('orders', ({ id }, channel) => console.log(id + 1, channel.length));
  await pubsub.unsubscribe('orders');
  // @ts-expect-error a channel is a string
  await pubsub.publish(5, '');
  // @ts-expect-error a handler is needed
  await pubsub.subscribe('orders');
  pubsub.on('broker', ({ state, gapSince }) => console.log(state, gapSince));
  pubsub.once('error', ({ code }) => same<typeof code, ErrorCode>());
  // @ts-expect-error no such event
  pubsub.on('message', () => {});
  await pubsub.unref().ref().close();
}

export { channels, code, histories, lifetime, other, send };

const ending: Shutdown = shutdownOnSignals(server, {
  drainMs: 5000,
  onClosed: async () => {},
} satisfies ShutdownOptions);
same<typeof ending.started, boolean>();
ending.start();
ending.unwire();
shutdownOnSignals([server, createSecureServer()], { signals: ['SIGTERM'], deadlineMs: 10_000 });
shutdownOnSignals([]);
shutdownOnSignals(null);
// @ts-expect-error no such signal
shutdownOnSignals(server, { signals: ['SIGWHAT'] });
// @ts-expect-error there has to be a server, or none of several
shutdownOnSignals();
