/// <reference types="node" />

import { EventEmitter } from 'node:events';
import type { Server as HttpServer, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Http2SecureServer } from 'node:http2';
import type { Server as HttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';

/**
 * WebSockets on the HTTP server that an application already has. Node's thread takes part in the upgrade only; from
 * then on the socket belongs to Rust threads, so that a blocked event loop delays no message and ends no connection.
 *
 * Takes the upgrades of one path, also before listeners that were there earlier. Those of other paths are left to the
 * server's other `upgrade` listeners, which then have to refuse what nobody wants. Where only managers listen, such an
 * upgrade is answered by the server's `request` handler, as if there were no `upgrade` listener.
 *
 * With an `https` server, or a socket that isn't Node's own, the bytes pass through Node (a stream bridge): all of this
 * works there too, but a blocked event loop then delays messages.
 *
 * Listeners run one event after another; microtasks run between events. Those of a connection's events run in the asynchronous
 * context (`AsyncLocalStorage`) of its upgrade, or of the call of `handleUpgrade`; all others, and those of a connection whose
 * upgrade had none, in the context in which the manager was made. A listener that throws or rejects ends up in the `error` event, with `ERR_LISTENER`.
 *
 * @typeParam Data - type of `connection.data`; follows from `auth.authenticate` if that is given
 *
 * @example
 * ```js
 * const manager = new WebSocketManager(server, { auth: { jwt: { secret: process.env.JWT_SECRET } }, relay: false });
 * manager.on('message', (connection, data) => connection.send(data));
 * await manager.sendToUser('42', { hello: 'world' });
 * ```
 */
export class WebSocketManager<Data = unknown> extends EventEmitter {
  /**
   * Starts listening at once. Without `options`, the environment variable `JWT_SECRET` has to hold the secret that
   * tokens are signed with.
   *
   * @param server - the `http.Server`, `https.Server`, or one of HTTP/2 with `allowHTTP1`; it need not listen yet. When it closes, the manager does. `null`: none, for
   * applications that call {@link WebSocketManager.handleUpgrade} for every upgrade, or that only send. Such a manager is closed by
   * {@link WebSocketManager.close} alone. Without `auth` and `JWT_SECRET` it lets in whom `handleUpgrade` is given an identity of, and
   * nobody else. `JWT_SECRET` is read here, too: `auth: { authenticate: () => null }` says that every client comes by `handleUpgrade` with
   * an identity. It holds the process no more than another one does.
   * @throws TypeError `ERR_INVALID_SERVER` if `server` is neither an HTTP server nor `null`
   * @throws TypeError `ERR_INVALID_OPTION` for an option of the wrong type, or options that exclude each other
   * @throws TypeError `ERR_UNKNOWN_OPTION` for an option that does not exist
   * @throws TypeError `ERR_AUTH_REQUIRED` if neither `auth` nor `JWT_SECRET` says who may connect, and there is a server
   * @throws RangeError `ERR_OPTION_OUT_OF_RANGE` for an option whose value is not permitted
   * @throws Error `ERR_NAME_TAKEN` if this process has a manager of that name
   * @throws Error `ERR_INTERNAL` if the system gives no threads
   */
  constructor(
    server: HttpServer | HttpsServer | Http2SecureServer | null,
    options?: WebSocketManagerOptions<Data>,
  );

  /** The option `name`. */
  readonly name: string;
  /** The option `path`. */
  readonly path: string;
  /** The connections of this process. */
  readonly connections: ConnectionManager<Data>;

  /**
   * Sends to all connections of a user, on whichever servers they are.
   *
   * The promise may be left alone: a rejection that nobody handles is no unhandled one. If it is about the arguments (a
   * `TypeError` or `RangeError`), it becomes a process warning then, at most one a second of each code.
   *
   * @param userId - 1 to 256 bytes of UTF-8; an integer becomes decimal
   * @param data - see {@link Sendable}
   * @returns what is known of the message's way; nobody there is no error
   * @throws (rejects) TypeError `ERR_INVALID_ARG`, `ERR_UNKNOWN_OPTION`, or `ERR_NOT_SERIALIZABLE` for what is not {@link Sendable}
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`, or `ERR_TOO_LARGE` if `data` is larger than `limits.outboxBytes`
   * @throws (rejects) TypeError `ERR_NOT_REPRESENTABLE` for binary data with `redis.routing: 'shared'`
   * @throws (rejects) Error `ERR_BROKER_OVERLOADED` if `redis.pendingBytes` wait for Redis already: nobody got it
   * @throws (rejects) Error `ERR_BROKER_UNAVAILABLE` (nobody got it) or `ERR_UNCERTAIN` with `require: 'cluster'` only
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   */
  sendToUser(userId: string | number, data: Sendable, options?: DeliveryOptions): Promise<Delivery>;

  /**
   * Sends to all connections in a room, on whichever servers they are.
   *
   * @param room - 1 to 256 bytes of UTF-8; an integer becomes decimal
   * @param data - see {@link Sendable}
   * @throws (rejects) as {@link WebSocketManager.sendToUser}
   */
  sendToRoom(room: string | number, data: Sendable, options?: DeliveryOptions): Promise<Delivery>;

  /**
   * Sends to every connection of every server. The message is encoded once, however many get it.
   *
   * @param data - see {@link Sendable}
   * @throws (rejects) as {@link WebSocketManager.sendToUser}
   */
  broadcast(data: Sendable, options?: DeliveryOptions): Promise<Delivery>;

  /**
   * Publishes JSON on a channel of the application's own, for any subscriber of Redis: see {@link RedisPubSub}. Without
   * Redis it rejects.
   *
   * @param channel - the channel as Redis knows it, without a prefix: 1 to 65,536 bytes of UTF-8, and not one of a manager's own,
   * see {@link RedisPubSub.publish}
   * @param message - anything that `JSON.stringify` has a text for
   * @returns how many subscribers Redis handed it to; in a Redis Cluster, those of one of its servers
   * @throws (rejects) as {@link RedisPubSub.publish}
   */
  publish(channel: string, message: unknown): Promise<number>;

  /**
   * Closes all connections of a user, on whichever servers they are.
   *
   * @param code - close code, default 4002 (`CloseCode.DISCONNECTED`); one that may be sent: 1000-1003, 1007-1013, 3000-4999
   * @param reason - at most 123 bytes of UTF-8, default empty
   * @param options - `require: 'cluster'`: reject unless every server was asked. Without it, and with Redis away, connections
   * of other servers stay
   * @returns what is known of the request's way; `local` is how many connections of this process were told
   * @throws (rejects) TypeError `ERR_INVALID_ARG`, `ERR_UNKNOWN_OPTION`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) Error `ERR_BROKER_OVERLOADED` if `redis.pendingBytes` wait for Redis already
   * @throws (rejects) Error `ERR_BROKER_UNAVAILABLE` or `ERR_UNCERTAIN` with `require: 'cluster'` only
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   */
  disconnectUser(
    userId: string | number,
    code?: number,
    reason?: string,
    options?: DeliveryOptions,
  ): Promise<Delivery>;

  /**
   * Whether the user has an open connection, on this server or any that is in touch with Redis. `true` may be some seconds
   * old for another server, which forgets a user `redis.graceMs` after the last connection; for one that hangs without losing its
   * connection to Redis (SIGSTOP, a frozen machine) it stays `true`, for 150 seconds and more. Servers that know nothing but the
   * channel of `redis.routing: 'shared'` are not asked.
   *
   * @throws (rejects) TypeError `ERR_INVALID_ARG`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) Error `ERR_BROKER_UNAVAILABLE` if the user isn't here, and Redis is away
   * @throws (rejects) Error `ERR_BROKER_OVERLOADED`, `ERR_UNCERTAIN`
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   */
  isOnline(userId: string | number): Promise<boolean>;

  /**
   * Counts open connections on all servers: each is asked, and has a second to answer.
   *
   * @param userId - of this user only; default everybody's
   * @throws (rejects) TypeError `ERR_INVALID_ARG`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) Error `ERR_BROKER_OVERLOADED`
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   */
  countConnections(userId?: string | number): Promise<ConnectionCount>;

  /**
   * Takes an upgrade that the application routes itself, whatever its path. The socket is taken at once, and answered
   * also where the promise rejects, except for the rejections marked "untouched".
   *
   * May be called after an `await`: what the socket has read meanwhile is taken along. Call `socket.on('error', () => {})` before the
   * `await`: Node takes its own listener off an upgraded socket, so a client's reset ends the process otherwise.
   *
   * @param req - the request of the server's `upgrade` event
   * @param socket - its socket, or any other `Duplex` that carries the connection
   * @param head - its first bytes
   * @param identity - who it is. Then nothing else is asked for; the origin is checked all the same. Without it, the option `auth` decides.
   * @returns the open connection
   * @throws (rejects) TypeError `ERR_INVALID_ARG` or `ERR_INVALID_IDENTITY`: untouched
   * @throws (rejects) Error `ERR_CLOSED` once `close()` was called: the client gets 503 `ERR_SHUTTING_DOWN`
   * @throws (rejects) Error `ERR_HANDOVER` if the socket is closed or taken already, or an earlier request on it is yet to
   * be answered (untouched); if it gave something else than bytes (destroyed); or if the client left meanwhile
   * @throws (rejects) Error with the code of the refusal that the client got, such as `ERR_TOKEN_INVALID`; the {@link UpgradeRefusal} itself
   * where `auth.authenticate` gave one
   */
  handleUpgrade(
    req: IncomingMessage,
    socket: Duplex,
    head?: Buffer | Uint8Array | null,
    identity?: Identity<Data>,
  ): Promise<Connection<Data>>;

  /**
   * Resolves when messages can be sent and received, with Redis when all links to it are up. Doesn't wait for the HTTP
   * server to listen.
   *
   * @throws (rejects) Error `ERR_BROKER_CONNECT`, `ERR_BROKER_AUTH`, `ERR_BROKER_TOO_OLD`, `ERR_BROKER_ROLE`,
   * `ERR_BROKER_TIMEOUT`, `ERR_BROKER_PROTOCOL`: why Redis can't be used now. It goes on being tried.
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   */
  ready(): Promise<void>;

  /** A reading of all counters. Costs some microseconds; doesn't throw, also after `close()`. */
  stats(): Stats;

  /**
   * Refuses new connections, closes those that are there, and frees everything. Runs by itself, with code 1001, when
   * the HTTP server closes. Keeps the process alive until it is done, and no longer: afterwards nothing of the manager
   * does. Further calls answer the same promise.
   *
   * The manager's other calls reject with `ERR_CLOSED` from now on. With `drainMs` only `handleUpgrade` does; the others are
   * served, for pages and connections that are still there, until the drain is over: until the last connection is gone,
   * which may be sooner than `drainMs`. Connections that are still open receive messages meanwhile, and so do the users of other
   * servers.
   *
   * @throws (rejects) TypeError `ERR_INVALID_ARG` or `ERR_UNKNOWN_OPTION`: nothing was closed
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`: nothing was closed
   */
  close(options?: CloseOptions): Promise<void>;

  /** {@link WebSocketManager.close} without options, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;

  /** `message`, where `isBinary` tells the type of `data`; see {@link WebSocketManagerEvents.message}. */
  on(event: 'message', listener: MessageListener<Data>): this;
  on<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` tells the type of `data`; see {@link WebSocketManagerEvents.message}. */
  addListener(event: 'message', listener: MessageListener<Data>): this;
  addListener<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` tells the type of `data`; see {@link WebSocketManagerEvents.message}. */
  prependListener(event: 'message', listener: MessageListener<Data>): this;
  prependListener<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` tells the type of `data`; see {@link WebSocketManagerEvents.message}. */
  once(event: 'message', listener: MessageListener<Data>): this;
  once<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` tells the type of `data`; see {@link WebSocketManagerEvents.message}. */
  prependOnceListener(event: 'message', listener: MessageListener<Data>): this;
  prependOnceListener<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` tells the type of `data`; see {@link WebSocketManagerEvents.message}. */
  off(event: 'message', listener: MessageListener<Data>): this;
  off<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` tells the type of `data`; see {@link WebSocketManagerEvents.message}. */
  removeListener(event: 'message', listener: MessageListener<Data>): this;
  removeListener<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  removeAllListeners(event?: keyof WebSocketManagerEvents<Data>): this;
  emit<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    ...args: WebSocketManagerEvents<Data>[E]
  ): boolean;
}

/**
 * The manager of that name in this process (in a worker thread: in that thread), for code that is not where the server
 * is made, such as route handlers. Survives bundling and module reloads.
 *
 * @param name - default `'default'`
 * @throws TypeError `ERR_INVALID_ARG` if `name` is no string
 * @throws Error `ERR_NO_MANAGER` if there is none; the message says what to do
 */
export function getWebSocketManager<Data = unknown>(name?: string): WebSocketManager<Data>;

/**
 * Ends this process in order when it gets a signal. In this order: all managers of the process close, with `drainMs`, while requests are
 * still answered, with `Connection: close`; then the HTTP servers close, once their requests are answered; then `onClosed` runs;
 * then the process exits, with `process.exitCode` or 0. A step that fails is the process warning `ACTORY_WS_SHUTDOWN`, and the exit
 * code is 1; the other steps run all the same.
 *
 * Once the requests are answered, other upgraded sockets of the servers (such as those of another WebSocket server) and connections
 * that say nothing are ended, and sessions of HTTP/2 are closed. Call this before the server listens: connections from before the
 * call are waited for, until a second before the deadline.
 *
 * It exits at `deadlineMs` whatever is left by then; a warning names that, and the exit code is 1. A second signal, if it comes half
 * a second after the first or later, exits at once with 128 plus the number of the signal. (A signal sent to npm comes twice.)
 *
 * A process ends once, however often this is called, also by several copies of the package. Each call adds its servers, its signals
 * and its `onClosed`; of `drainMs` and of `deadlineMs` the longest counts. All `onClosed` run at the same time.
 *
 * @param server - the HTTP servers to close, one or several; `null` or an empty array where there is none
 * @throws TypeError `ERR_INVALID_SERVER` if one of them is no HTTP server, `ERR_INVALID_ARG` or `ERR_UNKNOWN_OPTION`
 * @throws RangeError `ERR_ARG_OUT_OF_RANGE` for a time out of its range, a `deadlineMs` less than `drainMs`, and a signal that there is
 * not, or that no process can listen to. Nothing is wired then.
 */
export function shutdownOnSignals(
  server:
    | HttpServer
    | HttpsServer
    | Http2SecureServer
    | readonly (HttpServer | HttpsServer | Http2SecureServer)[]
    | null,
  options?: ShutdownOptions,
): Shutdown;

/** Options of {@link shutdownOnSignals}. */
export interface ShutdownOptions {
  /**
   * The signals; without any, only {@link Shutdown.start} starts it. `SIGKILL` and `SIGSTOP` can't be listened to.
   *
   * @defaultValue `['SIGTERM', 'SIGINT']`
   */
  signals?: readonly NodeJS.Signals[] | undefined;
  /**
   * Over how much time the closing of the connections is spread; see {@link CloseOptions.drainMs}. Milliseconds, 0 to 86,400,000.
   *
   * @defaultValue `1000`
   */
  drainMs?: number | undefined;
  /**
   * When the process exits at the latest, counted from the signal. A second before that, or half-way from the end of the drain if that
   * is later, nothing is waited for any more, the servers close, requests are cut off, server-sent events too, and `onClosed` is called.
   * The sender of the signal has to give the process longer than this. pm2 does not by default: `kill_timeout: 8000` fits.
   * Milliseconds, `drainMs` to 86,400,000.
   *
   * @defaultValue `drainMs + 6000`: 7000
   */
  deadlineMs?: number | undefined;
  /**
   * Called when clients and requests are gone, to close what they needed, such as a database. No new ones come in by then. A promise
   * of it is awaited. If it throws or rejects, that is a process warning, and the exit code is 1.
   */
  onClosed?: (() => unknown) | undefined;
}

/** What {@link shutdownOnSignals} answers with. */
export interface Shutdown {
  /** Whether the process is ending: what a health check is to answer 503 for. */
  readonly started: boolean;
  /** Does what a signal does, for those that come by another way. Has no effect when the process is ending. */
  start(): void;
  /** Takes the call back; what other calls have wired stays. Has no effect when the process is ending. */
  unwire(): void;
  /** {@link Shutdown.unwire}, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Pub/Sub on channels of the application's own, JSON in and out. Connects when it is made, by the same machinery as a
 * manager: comes back by itself for ever, and then subscribes again to everything.
 *
 * Handlers run one message after another, in the asynchronous context in which the object was made. One that throws or
 * rejects ends up in the `error` event, with `ERR_LISTENER`; so does a message that isn't JSON, or is larger than 64 MiB, with
 * `ERR_BAD_MESSAGE`.
 *
 * A login that may use some channels only (Redis ACL, `resetchannels`) had better have `&probe:*` besides, and
 * `+publish`: each connection sends messages to itself there, which show that it carries any. Without, it shows only
 * that Redis answers.
 *
 * @example
 * ```js
 * const pubsub = new RedisPubSub();
 * await pubsub.initialize();
 * await pubsub.subscribe('orders', (order) => console.log(order.id));
 * await pubsub.publish('orders', { id: 7 });
 * ```
 */
export class RedisPubSub extends EventEmitter {
  /**
   * @param url - as `url` of {@link RedisOptions}; default the option's, else the environment variable `REDIS_URL`
   * @param options - messages of errors name them as a manager's, `redis.url`
   * @throws TypeError `ERR_INVALID_ARG`; `ERR_INVALID_OPTION`, also if there is no URL; `ERR_UNKNOWN_OPTION`
   * @throws RangeError `ERR_OPTION_OUT_OF_RANGE`
   */
  constructor(url?: string | readonly string[], options?: RedisOptions);

  /**
   * Resolves when all links to Redis are up.
   *
   * @throws (rejects) as {@link WebSocketManager.ready}; it goes on being tried
   */
  initialize(): Promise<void>;

  /**
   * Publishes a message.
   *
   * @param channel - 1 to 65,536 bytes of UTF-8. Those that begin with `redis.prefix` of a manager of this process, on whichever
   * Redis, and a colon, or with the option `prefix` of this object (default `'actory'`) and a colon, are managers' own
   * @param message - anything that `JSON.stringify` has a text for
   * @returns how many subscribers Redis handed it to; in a Redis Cluster, those of one of its servers
   * @throws (rejects) TypeError `ERR_INVALID_ARG`, `ERR_NOT_SERIALIZABLE`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`, also for a manager's own channel
   * @throws (rejects) Error `ERR_BROKER_UNAVAILABLE` or `ERR_BROKER_OVERLOADED`: nobody got it
   * @throws (rejects) Error `ERR_UNCERTAIN` if the link broke before Redis answered
   * @throws (rejects) Error `ERR_CLOSED` once `close()` was called
   */
  publish(channel: string, message: unknown): Promise<number>;

  /**
   * Has a handler called with every message of a channel, until `unsubscribe` or `close`. A channel may have several
   * handlers; the same function counts once. Holds the process, see {@link RedisPubSub.unref}.
   *
   * @param channel - as in {@link RedisPubSub.publish}
   * @param handler - called with the parsed message and the channel
   * @returns when Redis has confirmed the subscription. While Redis is away it waits for that.
   * @throws (rejects) TypeError `ERR_INVALID_ARG`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) Error `ERR_BROKER_AUTH` if the login may not listen on the channel. If that is taken from it later,
   * the subscription ends with an `error` event of this code.
   * @throws (rejects) Error `ERR_CLOSED` once `close()` was called
   */
  // biome-ignore lint/suspicious/noExplicitAny: what is in a message is between the application's own sides
  subscribe<Message = any>(
    channel: string,
    handler: (message: Message, channel: string) => unknown,
  ): Promise<void>;

  /**
   * Takes a handler off a channel.
   *
   * @param handler - default all of the channel
   * @throws (rejects) TypeError `ERR_INVALID_ARG`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) Error `ERR_CLOSED` once `close()` was called
   */
  unsubscribe(
    channel: string,
    // biome-ignore lint/suspicious/noExplicitAny: as in `subscribe`
    handler?: (message: any, channel: string) => unknown,
  ): Promise<void>;

  /** Has subscriptions hold the process again, which is the default. */
  ref(): this;
  /** Lets the process end although there are subscriptions. */
  unref(): this;

  /**
   * Waits for answers that are due, five seconds at most, and ends everything. Further calls answer the same promise.
   *
   * @throws (rejects) never
   */
  close(): Promise<void>;

  /** {@link RedisPubSub.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;

  on<E extends keyof RedisPubSubEvents>(event: E, listener: (...args: RedisPubSubEvents[E]) => unknown): this;
  addListener<E extends keyof RedisPubSubEvents>(
    event: E,
    listener: (...args: RedisPubSubEvents[E]) => unknown,
  ): this;
  once<E extends keyof RedisPubSubEvents>(
    event: E,
    listener: (...args: RedisPubSubEvents[E]) => unknown,
  ): this;
  off<E extends keyof RedisPubSubEvents>(
    event: E,
    listener: (...args: RedisPubSubEvents[E]) => unknown,
  ): this;
  removeListener<E extends keyof RedisPubSubEvents>(
    event: E,
    listener: (...args: RedisPubSubEvents[E]) => unknown,
  ): this;
}

/** Events of a {@link RedisPubSub}, by their arguments. */
export interface RedisPubSubEvents {
  /** The links to Redis have changed. Where nobody listens, trouble becomes a process warning. */
  broker: [status: BrokerStatus];
  /**
   * A handler failed, or messages are not JSON (at most one such event a second). Without a listener it becomes a process
   * warning, at most one a second of each code.
   */
  error: [error: WebSocketError];
}

/** Events of a {@link WebSocketManager}, by their arguments. An event that nobody listens to costs nothing. */
export interface WebSocketManagerEvents<Data = unknown> {
  /** A connection has opened. */
  connection: [connection: Connection<Data>];
  /**
   * A message came: text as a string, binary as a Buffer. Every message, also those that the option `relay` passes on,
   * and text that isn't JSON. Under a flood, a connection whose messages have not been taken is no longer read:
   * see `limits.eventBytesPerConnection`. Messages of one connection come in their order; those of several come in turn.
   */
  message: [connection: Connection<Data>, data: string | Buffer, isBinary: boolean];
  /**
   * A connection has ended, after all its messages. `code` is the client's, or the one it was closed with, see
   * {@link CloseCode}; 1002 if the client's is none that may be sent (1000-1003, 1007-1013, 3000-4999), which it is answered
   * with too; 1006 if there was no close frame. A client may send any code of the application's, so only `by` says whether
   * 4002 is this server's word or the client's.
   */
  disconnect: [connection: Connection<Data>, code: number, reason: string, by: ClosedBy];
  /**
   * Too much waited for a connection: it was dropped, but for a frame that is half out, and the connection is being closed
   * with 4004.
   */
  slow: [connection: Connection<Data>, dropped: Dropped];
  /**
   * A pong came: the answer to `connection.ping()`, with its data, or one that the client sent of its own accord. Never the answer
   * to a ping of the heartbeat.
   */
  pong: [connection: Connection<Data>, data: Buffer];
  /**
   * All that waited for an open connection is handed to the kernel, `bufferedAmount` is 0 as of then, and somebody may have waited
   * for that: `bufferedAmount` was read as more than 0, or the kernel has refused bytes, since it was last 0. Once for each such
   * time, as with `net.Socket`. It does not come for a connection that is closing: wait for `disconnect` as well.
   */
  drain: [connection: Connection<Data>];
  /**
   * An upgrade was refused, as `stats().refused` counts. Clients can cause any number: while 1,000 wait for listeners,
   * further ones are left out.
   */
  refused: [refusal: Refusal];
  /**
   * The links between servers have changed, or one that was lost is back. Never happens without Redis. Where nobody
   * listens, trouble becomes a process warning.
   */
  broker: [status: BrokerStatus];
  /**
   * Something in the application failed: a listener (`ERR_LISTENER`), `auth.authenticate` (`ERR_AUTH_FAILED`,
   * `ERR_INVALID_IDENTITY`); or a socket could not be taken over (`ERR_HANDOVER`), or what came from Redis was skipped
   * (`ERR_BAD_MESSAGE`, at most one event a second). Without a listener it becomes a process warning instead of an exception:
   * at most one a second of each code, and the next one tells how many were left out, since a client can make a listener
   * fail with each of its messages.
   */
  error: [error: WebSocketError];
}

/**
 * Refuses an upgrade in the application's own words. `auth.authenticate` returns, throws, resolves or rejects with one. No `error` event
 * tells of it, and `stats().refused` counts it as `ERR_REFUSED`.
 *
 * The client gets an HTTP answer with the JSON body `{"code","message"}`, the message being the reason. With `rejectWith: 'close'` its
 * connection is opened and closed at once instead, with `closeCode`, and the code as the reason of the close frame.
 *
 * @example
 * ```js
 * throw new UpgradeRefusal({ status: 402, code: 'PLAN_EXPIRED', reason: 'Your plan ended yesterday' });
 * ```
 */
export class UpgradeRefusal extends Error {
  /**
   * @throws TypeError `ERR_INVALID_ARG`, `ERR_UNKNOWN_OPTION`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  constructor(options?: UpgradeRefusalOptions);
  /** HTTP status. */
  readonly status: number;
  /** What the client is told; `ERR_REFUSED` if the application has no code for it. */
  readonly code: string;
  /** Close code with `rejectWith: 'close'`. */
  readonly closeCode: number;
}

/** What an {@link UpgradeRefusal} tells the client. */
export interface UpgradeRefusalOptions {
  /**
   * HTTP status, 400 to 599.
   *
   * @defaultValue `403`
   */
  status?: number | undefined;
  /**
   * Code for programs: 1 to 64 letters, digits and `_.:-`. Those that begin with `ERR_` are this package's.
   *
   * @defaultValue `'ERR_REFUSED'`
   */
  code?: string | undefined;
  /**
   * Sentence for people, at most 1,024 bytes of UTF-8. The client is told it.
   *
   * @defaultValue `'not permitted'`
   */
  reason?: string | undefined;
  /**
   * Close code with `rejectWith: 'close'`, 4000 to 4999. {@link closeAdvice} knows those of {@link CloseCode}; 4429 and 4500 to
   * 4599 are `'reconnect'`, any other is `'stop'`.
   *
   * @defaultValue 4000 and the status: 4402 for 402
   */
  closeCode?: number | undefined;
  /**
   * Further headers of the answer, as {@link Identity.headers}. `WWW-Authenticate` replaces the `Bearer` that goes with 401,
   * `Cache-Control` the `no-store`.
   *
   * @defaultValue `{}`
   */
  headers?: HandshakeHeaders | undefined;
}

/**
 * Headers that the application adds to the answer of a handshake: an object, a `Headers`, or pairs. A list, or several pairs, are as many
 * headers of the name, as cookies need it. Names are tokens, values Latin-1 without line breaks (RFC 9110, section 5.5), all together
 * at most 8,192 bytes. `Sec-WebSocket-*` and those of the connection or of a body are the handshake's: `Connection`, `Content-Encoding`,
 * `Content-Length`, `Content-Type`, `Keep-Alive`, `Proxy-Connection`, `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade`.
 */
export type HandshakeHeaders =
  | Readonly<Record<string, string | readonly string[]>>
  | Iterable<readonly [name: string, value: string]>;

/** Why an upgrade was refused. */
export interface Refusal {
  /** See {@link ErrorCode}; or the application's own, of an {@link UpgradeRefusal}. */
  code: ErrorCode | (string & {});
  /** The sentence that the client was told, unless `rejectWith` is `'close'`, which has no room for it. */
  message: string;
  /**
   * The path of the request's target and the names of its parameters, without host, user and fragment. `[redacted]` stands for each
   * value, for a parameter without one, and for what is too long or too odd to be a name or a part of a path: any of them may be a
   * token. The path itself is shown, so keep tokens out of it. At most 1,024 bytes; what is longer ends in `…`.
   */
  url: string;
  /** As {@link Connection.remoteAddress}. */
  remoteAddress: string;
  /**
   * Scheme, host and port of the header `Origin`, which browsers send; `[redacted]` stands for what else is in it. At most 1,024 bytes,
   * as `url`.
   */
  origin: string | undefined;
}

/** A listener of an event. What it answers is ignored, but for a promise: its rejection becomes an `error` event. */
export type WebSocketManagerListener<E extends keyof WebSocketManagerEvents<Data>, Data = unknown> = (
  ...args: WebSocketManagerEvents<Data>[E]
) => unknown;

/** A listener of `message` with all three parameters, in which `isBinary` tells the type of `data`. */
export type MessageListener<Data = unknown> = (
  ...args:
    | [connection: Connection<Data>, data: string, isBinary: false]
    | [connection: Connection<Data>, data: Buffer, isBinary: true]
) => unknown;

/** Options of a {@link WebSocketManager}. `undefined` is the default everywhere; numbers are integers. */
export interface WebSocketManagerOptions<Data = unknown> {
  /**
   * Name within the process, for {@link getWebSocketManager}. 1 to 64 bytes.
   *
   * @defaultValue `'default'`
   */
  name?: string | undefined;
  /**
   * Pathname whose upgrades are taken, compared exactly but for a trailing slash; the query is no part of it. Begins
   * with `/`, holds no `?` and no `#`, at most 1,024 bytes. A server has one manager per path, until that is closed: a
   * second one throws `ERR_OPTION_OUT_OF_RANGE`.
   *
   * @defaultValue `'/api/websocket'`
   */
  path?: string | undefined;
  /**
   * Subprotocols of the application, most wanted first: the first one that the client offers is agreed on. At most 32
   * unique tokens; `'bearer'` is taken, for it carries tokens.
   *
   * @defaultValue `[]`
   */
  protocols?: readonly string[] | undefined;
  /**
   * Headers of the request that are kept for {@link Connection.request}, together with its url: at most 32 names, in any case. A
   * connection keeps them for as long as it lasts, in as many bytes as they have (`limits.maxUrlBytes` and `limits.maxHeaderBytes` at
   * most). With `[]` it keeps the url alone.
   *
   * The headers are kept as they came: `authorization`, `cookie` and, behind `bearer`, `sec-websocket-protocol` may hold a token.
   *
   * @defaultValue none: nothing of the request is kept, and nothing is spent on it
   */
  keepHeaders?: readonly string[] | undefined;
  /**
   * Who may connect: whoever has a valid JWT, whomever a function lets in, or `'anonymous'`, everybody, each
   * connection being a user of its own under a random id.
   *
   * @defaultValue `{ jwt: { secret: process.env.JWT_SECRET } }` if that is set; else the constructor throws
   */
  auth?: 'anonymous' | JwtAuth | CallbackAuth<Data> | undefined;
  /**
   * How a client learns that it may not connect. `'http'`: by an HTTP answer with a JSON body, which browsers hide from
   * scripts (they see 1006). `'close'`: instead of an answer with 401 or 403, the connection is opened and closed at once
   * with 4001 (the token has expired), 4401 or 4403; costs a handshake for each. So is any {@link UpgradeRefusal}, with its `closeCode`.
   * Other refusals, such as 503, stay HTTP answers.
   *
   * @defaultValue `'http'`
   */
  rejectWith?: 'http' | 'close' | undefined;
  /**
   * Which pages may connect, by the `Origin` header that browsers send; clients that send none always may. `'*'`: any.
   * A list: `scheme://host[:port]`, or with one wildcard label in front, `https://*.example.com`. Schemes without hosts are named
   * as browsers send them, `file://`. `'null'` is what browsers send for every origin that they don't want to tell; any page can
   * get itself that one, so it can't be used together with `auth.jwt.cookie`.
   *
   * @defaultValue the same host as in the `Host` header: with `https://`; with `http://` unless the client's connection is TLS (see
   * `trustProxy`); and with `ws://` or `wss://`, which apps send and no page
   */
  allowedOrigins?: '*' | readonly string[] | undefined;
  /**
   * Which proxies are believed about whom they got a request from, for `remoteAddress`. Any client can send the header
   * in which they say so, so it counts only as far as proxies wrote it: it is read from its right end, and the client is
   * the first address there that is not one of these. That address is empty where a proxy says `unknown`, an obfuscated
   * identifier, or nothing that can be read.
   *
   * A list, or one of it: addresses, networks (`'10.0.0.0/8'`), `'loopback'` (127.0.0.0/8, ::1), `'linklocal'`
   * (169.254.0.0/16, fe80::/10), `'uniquelocal'` (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7), and `'unix'`
   * (whoever comes by a Unix-domain socket). Addresses of IPv4 within IPv6 count as IPv4.
   *
   * A number, 1 to 16: so many proxies, each adding an address, whoever they are. Only for servers that nobody reaches
   * past any of them. `true` does not exist: it would believe the address that the client itself wrote.
   *
   * These proxies are also believed about whether the client's connection is TLS, for {@link WebSocketManagerOptions.allowedOrigins}:
   * in `X-Forwarded-Proto` where the client's address stands in `X-Forwarded-For`, or in the `proto` of `Forwarded`. Nothing else is
   * taken from them: the origin is compared with `Host`, which they have to pass on.
   *
   * @defaultValue `false`: nobody
   */
  trustProxy?: false | number | string | readonly string[] | undefined;
  /**
   * The header that the proxies of `trustProxy` write. The other one is not read at all: a proxy that writes one passes
   * the other on as the client made it up.
   *
   * @defaultValue `'x-forwarded-for'`
   */
  proxyHeader?: 'x-forwarded-for' | 'forwarded' | undefined;
  /**
   * How dead connections are found.
   *
   * @defaultValue `{}`
   */
  heartbeat?: HeartbeatOptions | undefined;
  /**
   * What bounds memory and time.
   *
   * @defaultValue `{}`
   */
  limits?: LimitOptions | undefined;
  /**
   * What happens to a client's message without JavaScript: text that is JSON goes to all connections of the sender's
   * user (`'user'`), or of the rooms that the connection is in (`'rooms'`), the sender's own included. `false`: nothing.
   * What can't be relayed gets an error frame, `{"error":{"code","message"}}`, and the connection stays open.
   * Listeners of `message` get every message in any case: `false` is for applications that answer them by themselves.
   *
   * @defaultValue `'user'`
   */
  relay?: 'user' | 'rooms' | false | undefined;
  /**
   * The Redis through which servers reach each other's connections; `false`: none, and no warning that says so.
   *
   * @defaultValue `{ url: process.env.REDIS_URL }` if that is set; else `false`
   */
  redis?: RedisOptions | false | undefined;
  /**
   * Worker threads that the connections are spread over. 1 to 64. Each costs a thread and
   * `limits.readBufferBytes` of memory.
   *
   * @defaultValue the number of available cores, at most 4
   */
  threads?: number | undefined;
}

/**
 * Where Redis is, and how it is used: one server (6.0 or later), a Redis Cluster (7.0 or later), or the master that
 * Sentinels name. Which of these it is the servers say themselves.
 */
export interface RedisOptions {
  /**
   * `redis://[user[:password]@]host[:port]`, `rediss://…` for TLS, or `unix:///path`. Several for a Redis Cluster (any of
   * its nodes) or for Sentinels, up to 64. A database number is permitted and means nothing: Pub/Sub knows none.
   *
   * @defaultValue `process.env.REDIS_URL`
   */
  url?: string | readonly string[] | undefined;
  /**
   * User name, instead of the one in the URL; with Sentinels, the master's. One without a password logs in with an empty one, which
   * Redis takes of users with `nopass`.
   *
   * @defaultValue the URL's
   */
  username?: string | undefined;
  /**
   * Password, likewise. Empty: none.
   *
   * @defaultValue the URL's
   */
  password?: string | undefined;
  /**
   * Name of the master that Sentinels are asked for.
   *
   * @defaultValue `'mymaster'`
   */
  masterName?: string | undefined;
  /**
   * What the names of all channels begin with. Apps that share a Redis need prefixes of their own. 1 to 64 bytes without braces, and
   * without `all`, `control`, `messages`, `node`, `probe`, `room` or `user` between colons: `shop:prod` is one, `shop:user` is none.
   *
   * @defaultValue `'actory'`
   */
  prefix?: string | undefined;
  /**
   * Where messages for a user go. `'user'`: to a channel of the user's own, which only servers that have the user listen
   * on. `'shared'`: to one channel that all servers listen on, as `{"userId","data"}`, for servers that know nothing else;
   * `data` is JSON, and binary data is refused. Both are always received.
   *
   * @defaultValue `'user'`
   */
  routing?: 'user' | 'shared' | undefined;
  /**
   * Connections to each Redis server. Users and rooms are spread over them; the order per user is kept. 1 to 16.
   *
   * @defaultValue `1`
   */
  connections?: number | undefined;
  /**
   * How long a connection to Redis may take, TLS and login included. Milliseconds, 50 to 60,000.
   *
   * @defaultValue `2000`
   */
  connectTimeoutMs?: number | undefined;
  /**
   * How long an answer of Redis may take before the connection is given up and made anew. Milliseconds, 100 to 60,000.
   * Keep it below `cluster-node-timeout` and Sentinel's `down-after-milliseconds`: a master that stood still for longer
   * may have been replaced, which nobody can see when it wakes.
   *
   * @defaultValue `3000`
   */
  commandTimeoutMs?: number | undefined;
  /**
   * How often each connection publishes a message to itself, to find out whether it still carries any. Milliseconds, 100
   * to 60,000.
   *
   * @defaultValue `1000`
   */
  probeIntervalMs?: number | undefined;
  /**
   * How long a user's or room's subscription outlives its last connection here. Milliseconds, 0 to 3,600,000. Of more than
   * 16,384 such subscriptions the oldest are dropped before.
   *
   * @defaultValue `5000`
   */
  graceMs?: number | undefined;
  /**
   * Publishes that may wait for Redis. Once so much waits, further ones are refused with `ERR_BROKER_OVERLOADED`; the one
   * that crosses the line is taken. Bytes, 65,536 to 4,294,967,296. Clients whose messages are relayed are not read while
   * half of it is used; the last quarter is the application's alone.
   *
   * @defaultValue `67108864`
   */
  pendingBytes?: number | undefined;
  /**
   * For `rediss://`.
   *
   * @defaultValue `{}`
   */
  tls?: RedisTlsOptions | undefined;
}

/** TLS to Redis. Certificates and keys are PEM. */
export interface RedisTlsOptions {
  /**
   * Certificate authorities to trust, one or several in one text. A server's own self-signed certificate is one for itself,
   * and for others only if it says so (`CA:TRUE`).
   *
   * @defaultValue those of the system, and those of the file that the environment variable `NODE_EXTRA_CA_CERTS` names, as
   * both are when the first manager or `RedisPubSub` that needs them is made
   */
  ca?: string | Uint8Array | undefined;
  /**
   * Certificate to show to Redis, with those between it and its authority.
   *
   * @defaultValue none
   */
  cert?: string | Uint8Array | undefined;
  /**
   * Private key of `cert`.
   *
   * @defaultValue none
   */
  key?: string | Uint8Array | undefined;
  /**
   * Name that the server's certificate has to be for: one of its alternative names, or its common name if it has none.
   *
   * @defaultValue the host of the URL
   */
  servername?: string | undefined;
  /**
   * `false` takes any certificate, so that whoever is on the way can read and change everything.
   *
   * @defaultValue `true`
   */
  rejectUnauthorized?: boolean | undefined;
}

/** `auth` by JSON Web Tokens (RFC 7519), verified in Rust. */
export interface JwtAuth {
  /**
   * How tokens are verified. A token is taken from `Authorization: Bearer <token>`, else from the subprotocols
   * (`new WebSocket(url, ['bearer', token])`, the token right behind `'bearer'`; it is never echoed), else from the query, else from a cookie; the last two only
   * if switched on. An invalid token is refused, never skipped for the next.
   *
   * @defaultValue `{ secret: process.env.JWT_SECRET }` if `auth` is not given at all
   */
  jwt: JwtSecretOptions | JwtPublicKeyOptions;
}

/**
 * What all JWT options have. Claims become `connection.data`, as `JSON.parse` reads them. `exp`, `nbf` and `iat` must be numbers where
 * they are there; two claims of one name, and a header with `crit`, are refused.
 */
export interface JwtOptions {
  /**
   * Permitted `iss`, one or several; the claim is then required.
   *
   * @defaultValue not checked
   */
  issuer?: string | readonly string[] | undefined;
  /**
   * `aud` must hold this, or one of these; the claim is then required. Without it, a token that has an `aud` is refused, for it
   * is meant for somebody else (RFC 7519, section 4.1.3). `false`: `aud` is not looked at.
   *
   * @defaultValue none: tokens must have no `aud`
   */
  audience?: string | readonly string[] | false | undefined;
  /**
   * The claim that holds the user id, a non-empty string or an integer. An integer, however it is written (`10000`, `1e4`),
   * becomes decimal; one beyond `Number.MAX_SAFE_INTEGER` is refused, because `connection.data` could not tell it from its neighbours.
   * A string with half a surrogate pair is refused, too.
   *
   * @defaultValue `'sub'`
   */
  userIdClaim?: string | undefined;
  /**
   * How far the clocks of the issuer and of this server may differ, for `exp` and `nbf`. Seconds, 0 to 300.
   *
   * @defaultValue `5`
   */
  leewaySeconds?: number | undefined;
  /**
   * Whether a token without `exp` is refused. One that has it ends its connection when it expires, with 4001.
   *
   * @defaultValue `true`
   */
  requireExp?: boolean | undefined;
  /**
   * Name of a cookie that may carry the token; with the prefix `__Host-` no sibling host can set it. Two different cookies of the
   * name are refused. Browsers send cookies whichever page connects, so it can't be used together with `allowedOrigins` of
   * `'*'` or `'null'`.
   *
   * @defaultValue none: cookies are not read
   */
  cookie?: string | undefined;
  /**
   * Name of a query parameter that may carry the token. URLs end up in the logs of proxies: the last resort.
   *
   * @defaultValue none: the query is not read
   */
  query?: string | undefined;
}

/** JWTs that are signed with a shared secret. */
export interface JwtSecretOptions extends JwtOptions {
  /**
   * The shared secret, at least as long as the hash of each permitted algorithm (RFC 7518, section 3.2): 32 bytes for HS256, 48 for
   * HS384, 64 for HS512. A shorter one throws `ERR_OPTION_OUT_OF_RANGE`; see `allowShortSecret`.
   * `undefined` compiles, for an environment variable may be missing, but the constructor throws then.
   *
   * @defaultValue `process.env.JWT_SECRET` if `auth` is not given at all
   */
  secret: string | Uint8Array | undefined;
  /** Excluded by `secret`. */
  publicKey?: undefined;
  /**
   * Whether `secret` may be shorter than the hash. A short secret can be found from one token by trying; this is for the time
   * until it is replaced.
   *
   * @defaultValue `false`
   */
  allowShortSecret?: boolean | undefined;
  /**
   * Permitted algorithms.
   *
   * @defaultValue `['HS256']` with a secret; with a public key what the key is: `RS256`, `ES256`, `ES384` or `EdDSA`
   */
  algorithms?: readonly ('HS256' | 'HS384' | 'HS512')[] | undefined;
}

/** JWTs that are signed with a private key. */
export interface JwtPublicKeyOptions extends JwtOptions {
  /**
   * The public key in PEM: RSA, EC on P-256 or P-384, or Ed25519.
   *
   * @defaultValue none
   */
  publicKey: string | Uint8Array;
  /** Excluded by `publicKey`. */
  secret?: undefined;
  /** Of a secret only. */
  allowShortSecret?: undefined;
  /**
   * Permitted algorithms, which must be of the key's kind. ES512 is not supported.
   *
   * @defaultValue `['HS256']` with a secret; with a public key what the key is: `RS256`, `ES256`, `ES384` or `EdDSA`
   */
  algorithms?:
    | readonly ('RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'EdDSA')[]
    | undefined;
}

/** `auth` by a function of the application. */
export interface CallbackAuth<Data = unknown> {
  /**
   * Says who a client is; `null`, `undefined` or `false` if it may not connect (401), or an {@link UpgradeRefusal}, returned or
   * thrown, for any other status. May be asynchronous, within `limits.handshakeTimeoutMs`; bytes that the client sends meanwhile are
   * kept. If it throws, rejects, or answers something that is no identity, the client gets 500 without the reason, and the reason is an
   * `error` event.
   *
   * @defaultValue none
   */
  authenticate(req: AuthenticateRequest): AuthenticateAnswer<Data> | PromiseLike<AuthenticateAnswer<Data>>;
}

/** What `auth.authenticate` answers. */
export type AuthenticateAnswer<Data = unknown> = Identity<Data> | UpgradeRefusal | null | undefined | false;

/** What `auth.authenticate` is asked about. */
export interface AuthenticateRequest {
  /** Request target with its query, as the client sent it. */
  url: string;
  /** Request method. */
  method: string;
  /** Request headers with lower-case names, as Node reads them. */
  headers: IncomingHttpHeaders;
  /**
   * Address of the client: of who connects, as Node saw it, or what a proxy says, see `trustProxy`. Empty for a Unix-domain
   * socket, and where the proxy doesn't say.
   */
  remoteAddress: string;
  /**
   * Aborts when nobody waits for the answer any more: the client has left (`reason.code` is `ERR_HANDOVER`), the handshake has taken
   * longer than `limits.handshakeTimeoutMs` (`ERR_HANDSHAKE_TIMEOUT`), or the manager closes (`ERR_SHUTTING_DOWN`). For `fetch` and
   * database drivers. Any answer after that is ignored, and is no `error` event, be it wrong or thrown. The signal is made when it is
   * first looked at, and costs nothing otherwise. An `abort` listener must not throw: as with every `EventTarget` that ends the process,
   * and any client can set it off by leaving. A test that calls `authenticate` itself gives it `new AbortController().signal`.
   */
  readonly signal: AbortSignal;
}

/** Who is connected. Other keys than these are refused, with `ERR_INVALID_IDENTITY`. */
export interface Identity<Data = unknown> {
  /** The user, who may have many connections. 1 to 256 bytes of UTF-8; an integer becomes decimal. */
  userId: string | number;
  /** Rooms that the connection is in from the beginning; at most `limits.roomsPerConnection` different ones. */
  rooms?: readonly (string | number)[] | undefined;
  /** What becomes `connection.data`. Stays in JavaScript, as it is. */
  data?: Data | undefined;
  /**
   * When the connection is to be closed with 4001. If it is over already when `auth.authenticate` answers, the client is
   * refused with `ERR_TOKEN_EXPIRED`, which is 4001 as well with `rejectWith: 'close'`.
   */
  expiresAt?: Date | undefined;
  /**
   * Subprotocol to agree on: one that the client has offered, and not a token behind `bearer`. Anything else is
   * `ERR_INVALID_IDENTITY`.
   *
   * @defaultValue by the option `protocols`
   */
  protocol?: string | undefined;
  /**
   * Further headers of the 101, such as `Set-Cookie`.
   *
   * @defaultValue none
   */
  headers?: HandshakeHeaders | undefined;
}

/** How dead connections are found. Pings are spread evenly over the connections; one costs 14 bytes and their packets. */
export interface HeartbeatOptions {
  /**
   * How often every connection is pinged, whatever else it says: proxies want to see traffic both ways. Milliseconds, 100 to 3,600,000.
   *
   * @defaultValue `30000`
   */
  intervalMs?: number | undefined;
  /**
   * How long after a ping a sign of life may take before the connection is closed with 4003; any traffic is one. Time in
   * which the server doesn't read the connection is not counted, nor, where the bytes pass through Node (an `https`
   * server), time in which JavaScript blocks its thread for more than 100 ms. Milliseconds, 100 to 3,600,000.
   *
   * @defaultValue `10000`
   */
  timeoutMs?: number | undefined;
}

/** What bounds memory and time. */
export interface LimitOptions {
  /**
   * Largest message that a client may send, over all its fragments; a larger one closes with 1009. Bytes, 1 to
   * 268,435,456. A connection can make the server hold this much, for `messageTimeoutMs`. A frame that announces more is
   * refused before its payload comes. Control frames are not subject to it.
   *
   * @defaultValue `1048576`
   */
  maxPayload?: number | undefined;
  /**
   * Bytes that may wait to be written to one connection. Past it the connection is closed as a slow consumer, with 4004. The
   * kernel holds up to 200 KB more for it on Linux (`TCP_NOTSENT_LOWAT`, tcp(7)), elsewhere as much as its socket buffer
   * grows to. A burst survives up to this size. More, at most eight times as much, is taken only until the kernel was offered
   * the bytes and took less, which is a matter of milliseconds: never count on it. For a history, send in pieces:
   * `while (connection.isOpen && connection.bufferedAmount > 500_000) await setTimeout(5)` before each message,
   * until `send()` answers `false`. One message always fits an empty outbox; one that is larger than this is refused with
   * `ERR_TOO_LARGE`. Bytes, 1,024 to 1,073,741,824.
   *
   * @defaultValue `1048576`
   */
  outboxBytes?: number | undefined;
  /**
   * Memory that the outboxes of all connections that are behind and all unfinished messages may hold together. Past it,
   * connections are closed until it is enough: with 4004, or with 1013 if it is their unfinished message, be it not complete
   * or not yet relayed to all rooms. Those come first that made no progress for a second: the client took nothing of what
   * waits for it, or sent nothing more of its message, or the message was relayed to no further room. Among them, and then among
   * all others, those that hold most go first. A flood that is younger than a second, or that trickles, can still hit a
   * healthy client in the middle of a large message. Keep `maxPayload` and `outboxBytes` small against it. It has to be at least twice the larger of
   * both, or one permitted message could never get through: else `ERR_OPTION_OUT_OF_RANGE`.
   *
   * Under a flood, closing takes a second or two; whatever is sent meanwhile comes on top. A frame that is half out is
   * finished, unless more than 16 KiB of it remain to be sent: then the connection is reset at once, and the client sees 1006.
   *
   * A message of more than 1 KiB that lies in many outboxes counts once. Bytes that the kernel was not yet offered don't count
   * (up to eight times `outboxBytes` each), nor does the beginning of a message in 4 KiB or less. `stats().outboxBytes` and
   * `stats().unfinishedBytes` tell how much is held, a frame that is half out as a whole, for `closeTimeoutMs` at most;
   * `stats().memoryLimitBytes` tells the limit. Bytes, 1,048,576 to 1,099,511,627,776.
   *
   * @defaultValue a quarter of the memory that the process may use: `process.constrainedMemory()`, or
   * `os.totalmem()`; at least what two messages take, see above
   */
  memoryBytes?: number | undefined;
  /**
   * Connections at a time, handshakes included; further ones get 503. 1 to 10,000,000. An idle connection costs less than
   * 2,000 bytes. Clients that were refused may linger beside them for 300 ms, a quarter as many and 64 at most. Clients that left
   * hold their places until what they sent is dealt with; where less than a quarter is free, they hold a quarter at most.
   *
   * @defaultValue no limit
   */
  maxConnections?: number | undefined;
  /**
   * Rooms that one connection may be in. `connection.join()` throws `ERR_TOO_MANY_ROOMS` beyond it. An identity with
   * more is refused with 500 `ERR_INVALID_IDENTITY`; a room that it names twice counts once. 1 to 1,000,000. A room costs
   * about 300 bytes, and over Redis a subscription.
   *
   * @defaultValue `1000`
   */
  roomsPerConnection?: number | undefined;
  /**
   * Time from the upgrade to the connection, `auth.authenticate` included; then 408. Milliseconds, 10 to 600,000.
   *
   * @defaultValue `10000`
   */
  handshakeTimeoutMs?: number | undefined;
  /**
   * How long the client may take to answer a close frame before the socket is cut off. Also how long the end of a client that
   * closes, leaves or breaks the protocol waits at most for listeners to answer what it said before. Milliseconds, 10 to 600,000.
   *
   * @defaultValue `5000`
   */
  closeTimeoutMs?: number | undefined;
  /**
   * Time from the first byte of a message to its last, over all its fragments; each 8 KiB of it that came give it a second
   * more. Then the connection is closed with 1008. This keeps a client from holding memory by a message that it never ends,
   * and lets one on a slow network send large ones. Four times within this time it is looked at, and the first look starts
   * the clock, so the end comes late by at most half of it. Time in which the server doesn't read the connection doesn't
   * count. Milliseconds, 100 to 3,600,000.
   *
   * @defaultValue `60000`
   */
  messageTimeoutMs?: number | undefined;
  /**
   * Longest request target; then 414. Bytes, 16 to 65,536. Node's own limit, `--max-http-header-size`, comes first.
   *
   * @defaultValue `8192`
   */
  maxUrlBytes?: number | undefined;
  /**
   * All request headers together; then 431. Bytes, 256 to 1,048,576. Node's own limit, `--max-http-header-size`, comes first.
   *
   * @defaultValue `16384`
   */
  maxHeaderBytes?: number | undefined;
  /**
   * Messages of one connection that may wait for listeners; past it, or past 512 messages, the connection is not read until
   * half of them have been taken. One message always fits. Connections are served in turn, so one that has many messages
   * waiting keeps no other waiting. Bytes, of which a message counts 64 beyond its payload, 1,024 to 1,073,741,824.
   *
   * @defaultValue `262144`
   */
  eventBytesPerConnection?: number | undefined;
  /**
   * The same over all connections. No connection may have more waiting than this leaves free, so many that flood have smaller
   * shares, and one that sends little is read on. One message always fits: for that, and for a few small ones, there is a
   * reserve of the same size. When that is used up too, no connection is read; those with nothing waiting stand in line and
   * are read in its order, as listeners take messages. Bytes, 65,536 to 4,294,967,296.
   *
   * @defaultValue `33554432`
   */
  eventBytes?: number | undefined;
  /**
   * Read buffer of a worker thread, shared by its connections: the most that one `recv` brings. A connection that floods, or
   * has to wait for Redis or for listeners, keeps up to as much of its own: bytes that were read and not yet taken in.
   * Bytes, 1 to 16,777,216; one per thread.
   *
   * @defaultValue `65536`
   */
  readBufferBytes?: number | undefined;
}

/**
 * What can be sent. A string goes as text, as it is (lone surrogates become U+FFFD). A Buffer, typed array, DataView,
 * ArrayBuffer or SharedArrayBuffer goes as binary, and is copied before the call returns. Anything else goes as the text
 * that `JSON.stringify` makes of it; where that throws or makes nothing, the call fails with `ERR_NOT_SERIALIZABLE`. So it does
 * where that would leave out what the value holds and none of its classes has a `toJSON`: for a promise, a Map, Set, Error or
 * RegExp, and for what has a name of its own and becomes `{}`, such as a Blob, WeakMap, iterator, Headers or URLSearchParams. Values
 * within an object are not looked at.
 */
export type Sendable = string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer | JsonSendable;

/** What `JSON.stringify` has a text for, as far as a type can say. */
export type JsonSendable = number | boolean | null | object;

/** Options of a delivery. */
export interface DeliveryOptions {
  /**
   * `'cluster'`: reject unless the message was handed to every server. While Redis is away nobody gets it then, not even
   * connections of this process. Without Redis this process is the whole cluster.
   *
   * @defaultValue none
   */
  require?: 'cluster' | undefined;
}

/** What is known of a message's way. Never more than that. */
export interface Delivery {
  /**
   * `'published'`: Redis handed it to every server that has a recipient and is in touch with Redis. One that has lost its
   * link tells of the gap itself, see {@link BrokerStatus.gapSince}. `'local'`: Redis was away; connections of this
   * process were served, nobody else was. `'uncertain'`: the link broke before Redis answered, so either every server gets
   * it or none, perhaps late and behind newer ones; it is not sent again, which could double it.
   */
  status: 'published' | 'local' | 'uncertain';
  /**
   * At most so many servers that are in touch with Redis have a recipient; 0: none has. `null` if it isn't known, as with
   * `'local'`, `'uncertain'` and `redis.routing: 'shared'`.
   */
  nodes: number | null;
  /** Connections of this process that the message was for: not arrivals. */
  local: number;
}

/** What {@link WebSocketManager.countConnections} found. */
export interface ConnectionCount {
  /** Open connections on the servers that answered. */
  connections: number;
  /** Servers that answered, this one included. */
  servers: number;
  /** Whether all did. */
  complete: boolean;
}

/** Options of {@link WebSocketManager.close}. */
export interface CloseOptions {
  /**
   * Spreads the closing of the connections evenly over so much time, so that the clients don't all come back at once.
   * Milliseconds, 0 to 86,400,000. After it, clients have `limits.closeTimeoutMs` to answer. Messages are sent until then.
   *
   * @defaultValue `0`
   */
  drainMs?: number | undefined;
  /**
   * Close code that the connections are told; one that may be sent: 1000-1003, 1007-1013, 3000-4999.
   *
   * @defaultValue `1001`, and `1012` (the server restarts) with `drainMs`
   */
  code?: number | undefined;
  /**
   * Reason that the connections are told, at most 123 bytes of UTF-8.
   *
   * @defaultValue `''`
   */
  reason?: string | undefined;
}

/**
 * One WebSocket connection. There is one object per connection from the time JavaScript first sees it until its
 * `disconnect`. Afterwards it still says who it was; `send()` answers `false`, and the rest does nothing.
 */
export interface Connection<Data = unknown> {
  /** Unique over all connections of all servers. */
  readonly id: string;
  /** The user it belongs to. */
  readonly userId: string;
  /**
   * The subprotocol agreed on: the identity's, or one of `protocols`, else `'bearer'` if the client offered that; empty if none.
   */
  readonly protocol: string;
  /**
   * Address of the client: of who connects, as Node saw it, or what a proxy says, see `trustProxy`. Empty for a Unix-domain
   * socket, and where the proxy doesn't say.
   */
  readonly remoteAddress: string;
  /** What is kept of the request that it came with; `undefined` without the option `keepHeaders`. */
  readonly request: ConnectionRequest | undefined;
  /**
   * The application's own: `data` of the identity, or the claims of the JWT, else `undefined`. It may be set to anything,
   * and lasts as long as the object.
   */
  data: Data;
  /** The rooms it is in, as of now. */
  readonly rooms: string[];
  /**
   * Bytes that wait to be handed to the kernel, also while the connection is closing. Where it is more than 0, the event `drain`
   * tells when it is 0, unless the connection ends before.
   */
  readonly bufferedAmount: number;
  /**
   * Whether `send()` takes messages: `false` once it was closed by a call, has overflowed its outbox, or has ended, also where
   * `disconnect` is yet to come. The same connections are in `manager.connections`.
   */
  readonly isOpen: boolean;
  /** Whether `pause()` was called, and `resume()` not since. */
  readonly isPaused: boolean;

  /**
   * Queues a message. Not ordered against `sendToUser` and the like.
   *
   * @returns whether it was queued: `false` if the connection is closing or closed, or has just overflowed its outbox
   * (it is then closed with 4004)
   * @throws TypeError `ERR_NOT_SERIALIZABLE` for what is not {@link Sendable}
   * @throws RangeError `ERR_TOO_LARGE` if `data` is larger than `limits.outboxBytes`
   */
  send(data: Sendable): boolean;

  /**
   * Closes the connection, after what is queued. The client has `limits.closeTimeoutMs` to answer. `message` still tells of what had
   * come before this call; {@link Connection.terminate} ends that as well.
   *
   * @param code - close code; one that may be sent: 1000-1003, 1007-1013, 3000-4999. Without one, and without a reason, the close
   * frame is empty, and both sides are told 1005; with a reason it is 1000, for a reason needs a code.
   * @param reason - at most 123 bytes of UTF-8, default empty
   * @throws TypeError `ERR_INVALID_ARG`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  close(code?: number, reason?: string): void;

  /**
   * Ends the connection at once: no close frame is sent, and what waits is dropped. The client is told 1006, and so is
   * `disconnect`, by `'server'`. Also ends one that is closing, with the code of that. No event but `disconnect` comes of the
   * connection any more, and `slow`, if its outbox had overflowed before.
   */
  terminate(): void;

  /**
   * Pings the client, behind what is queued. The event `pong` tells its answer. The heartbeat does so by itself: this is for
   * measuring, or for data of your own: all but the three bytes of the heartbeat's pings, `\x16hb`, whose answers are its own.
   *
   * @param data - a string or bytes, at most 125 bytes, default empty
   * @returns whether it was queued: `false` if the connection is closing or closed, or so much waits that it is closed with 4004
   * @throws TypeError `ERR_INVALID_ARG`, or `ERR_NOT_SERIALIZABLE` for a buffer that was detached, or a view on one that was or has shrunk
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  ping(data?: string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer): boolean;

  /**
   * Stops reading from the client until `resume()`, so that TCP stops its sending. Messages that were read before still come: at most what
   * `limits.eventBytesPerConnection` and one read leave, and nothing that the client sends after this call. The heartbeat's clock
   * stands still meanwhile, and the end of a client that left may be noticed only after `resume()`. A paused connection can be
   * written to and closed.
   */
  pause(): void;

  /** Reads on. Like `pause()`, without effect once the connection has ended or was terminated. */
  resume(): void;

  /**
   * Puts the connection into a room; does nothing if it is in there. What this process sends to the room from here on
   * reaches it. What other processes send before Redis has confirmed the subscription, commonly within a millisecond, may
   * not; when it takes longer than a second, or Redis is away, a gap is told, see {@link BrokerStatus.gapSince}.
   *
   * @param room - 1 to 256 bytes of UTF-8; an integer becomes decimal
   * @throws TypeError `ERR_INVALID_ARG`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`, or `ERR_TOO_MANY_ROOMS` if it is in `limits.roomsPerConnection` others
   */
  join(room: string | number): void;

  /**
   * Takes the connection out of a room; does nothing if it isn't in there.
   *
   * @param room - as in `join`
   * @throws TypeError `ERR_INVALID_ARG`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  leave(room: string | number): void;
}

/** What a connection keeps of its request, see `keepHeaders`. */
export interface ConnectionRequest {
  /**
   * Request target with its query, as the client sent it. The value of the parameter that `auth.jwt.query` names is `[redacted]`; what
   * else is secret in a query is there, so mind your logs.
   */
  readonly url: string;
  /**
   * Those of the headers named in `keepHeaders` that the client sent, by lower-case names. Several of one name are one value, with a comma
   * between them (`cookie`: a semicolon). It has no prototype.
   */
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** The connections of this process. What is sent here passes no broker, and reaches no other server. */
export interface ConnectionManager<Data = unknown> extends Iterable<Connection<Data>> {
  /** Open connections. */
  readonly size: number;
  /** Users that have at least one. */
  readonly userCount: number;

  /** Ids of the users that have at least one. */
  users(): string[];

  /**
   * The connection of that id, if it is open.
   *
   * @throws TypeError `ERR_INVALID_ARG` if `id` is no string
   */
  get(id: string): Connection<Data> | undefined;

  /**
   * The open connections of a user. Makes objects for those that JavaScript has not seen yet.
   *
   * @throws TypeError `ERR_INVALID_ARG`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  ofUser(userId: string | number): Connection<Data>[];

  /**
   * The open connections in a room. Makes objects for those that JavaScript has not seen yet.
   *
   * @throws TypeError `ERR_INVALID_ARG`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  inRoom(room: string | number): Connection<Data>[];

  /**
   * Sends to all connections of a user in this process.
   *
   * @returns into how many outboxes it was put; 0 once the manager is closing
   * @throws TypeError `ERR_INVALID_ARG`, `ERR_NOT_SERIALIZABLE`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`, `ERR_TOO_LARGE`
   */
  sendToUser(userId: string | number, data: Sendable): number;

  /**
   * Sends to all connections of this process.
   *
   * @returns into how many outboxes it was put; 0 once the manager is closing
   * @throws TypeError `ERR_NOT_SERIALIZABLE`
   * @throws RangeError `ERR_TOO_LARGE`
   */
  broadcast(data: Sendable): number;

  /**
   * All open connections. Makes an object for each, some hundred bytes: for many connections, prefer `users()`,
   * `ofUser()` and `inRoom()`.
   */
  [Symbol.iterator](): IterableIterator<Connection<Data>>;
}

/**
 * Messages that were dropped for a slow consumer. A frame that is half out is not part of it, as it is still to be finished. If the
 * connection is cut off before it is, only `stats().messages.dropped` counts that message.
 */
export interface Dropped {
  /** Bytes that waited in the outbox, frame heads included. */
  droppedBytes: number;
  /** Messages of them. */
  droppedMessages: number;
}

/** State of the links between servers. */
export interface BrokerStatus {
  /**
   * `'up'`: every link works. `'degraded'`: a link is slow to answer, or some of several are down. `'down'`: none works,
   * and messages reach connections of this process only.
   */
  state: BrokerState;
  /** Since when, in Unix milliseconds. */
  since: number;
  /** Why it isn't up. */
  error?: WebSocketError;
  /**
   * A link that was lost is back, or a connection that was opened unconfirmed gets everything from now on. Messages may not
   * have arrived here whose publishing, from the call to its answer, touches the time from then on until `gapUntil`. Unix
   * milliseconds, by the clock of this machine as it is set now: whoever compares them with times of another machine has
   * to allow for the difference.
   */
  gapSince?: number;
  /** See `gapSince`. */
  gapUntil?: number;
}

/**
 * The side that ended a connection:
 *
 * - `'peer'`: the client sent the first close frame (RFC 6455, section 5.5.1). The code is its choice.
 * - `'server'`: this side did: the application, a shutdown, a token's end, a limit, or a violation of the protocol.
 * - `'network'`: nobody did. The transport broke or ended without a close frame (1006), or the client gave no sign of life
 *   within `heartbeat.timeoutMs` (4003).
 */
export type ClosedBy = 'peer' | 'server' | 'network';

/**
 * Ended connections, by close code: the codes of {@link CloseCode} and those that RFC 6455, section 7.4.1, and the IANA
 * registry define (1000 to 1015). All further codes share the counter `other`. Codes that have not occurred are left out.
 */
export interface CloseCounts {
  /** Connections that ended with this code. */
  [code: number]: number | undefined;
  /** Connections that ended with a code that has no counter of its own. */
  other?: number;
}

/** See {@link BrokerStatus.state}. */
export type BrokerState = 'up' | 'degraded' | 'down';

/** Counters, most of them since the manager was made. */
export interface Stats {
  /** Open connections. */
  connections: number;
  /** Users with at least one. */
  users: number;
  /** Rooms with at least one. */
  rooms: number;
  /**
   * Sockets that are no open connection: handshakes under way, connections that are being closed, and refused clients that
   * linger (for 300 ms, 64 at most).
   */
  handshakes: number;
  /** Connections opened. */
  opened: number;
  /** Handshakes refused, by error code. */
  refused: Partial<Record<ErrorCode, number>>;
  /** Connections that this side has ended, or that broke: `by` of `disconnect` is `'server'` or `'network'`. */
  closed: CloseCounts;
  /** Connections that their clients have closed: `by` of `disconnect` is `'peer'`. */
  closedByPeer: CloseCounts;
  /** Messages. */
  messages: {
    /** Read from clients. */
    received: number;
    /** Handed to the kernel. */
    sent: number;
    /** Passed on by the relay. */
    relayed: number;
    /** Refused by the relay, with an error frame. */
    notRelayed: number;
    /** Queued, then dropped: the connection was slow, or ended. A frame that was half out and then cut off counts. */
    dropped: number;
    /** Ignored, because they came after the close had begun. */
    afterClose: number;
  };
  /** Bytes. */
  bytes: {
    /** Payload read from clients. */
    received: number;
    /** Handed to the kernel, frame heads and control frames included. */
    sent: number;
  };
  /** Pings sent by the heartbeat. */
  pings: number;
  /** Bytes of messages that wait for listeners. */
  eventBytes: number;
  /** Bytes of memory that outboxes hold for clients that are behind; see `limits.memoryBytes`. */
  outboxBytes: number;
  /**
   * Bytes of memory that unfinished messages hold: those that are not complete, and those that are being relayed to many
   * rooms. See `limits.memoryBytes`.
   */
  unfinishedBytes: number;
  /** Bytes that both may hold together: `limits.memoryBytes`, or its default. */
  memoryLimitBytes: number;
  /** Worker threads; 0 after `close()`. */
  threads: number;
  /** The links between servers. */
  broker: BrokerStats;
}

/** Counters of the links between servers, most of them since the manager was made. Without Redis they stay at 0. */
export interface BrokerStats {
  /** `'memory'`: without Redis, this process is on its own. */
  kind: 'memory' | 'redis';
  /** See {@link BrokerStatus}. */
  state: BrokerState;
  /** Since when, in Unix milliseconds. */
  since: number;
  /** Why it isn't up; `null` if it is. */
  code: ErrorCode | null;
  /** The same in words. */
  reason: string | null;
  /** Channels subscribed to, now. */
  subscriptions: number;
  /** Publishes that Redis has not answered, now. */
  pending: number;
  /** Bytes of them. */
  pendingBytes: number;
  /** Publishes that Redis took. */
  published: number;
  /** Publishes that served connections of this process only, Redis being away. */
  local: number;
  /** Publishes of which nobody knows what became of them. */
  uncertain: number;
  /** Messages that came from Redis. */
  received: number;
  /** Messages from Redis that were malformed, too large, of an unknown kind or not permitted on their channel, and were skipped. */
  ignored: number;
  /** Gaps that were told of, see {@link BrokerStatus.gapSince}. */
  gaps: number;
  /** Connections that were opened before their subscription was confirmed, Redis being away or slow. */
  unconfirmed: number;
}

/** What this package throws, rejects with and emits. */
export interface WebSocketError extends Error {
  /** What happened: stable, and safe to compare. The message is for people, and may change. */
  code: ErrorCode;
  /** What was thrown by the application's own code, where there is such. */
  cause?: unknown;
}

/** Every error code, by itself. Those with an HTTP status refuse an upgrade, and are the `code` in its JSON body. */
export const ErrorCode: {
  /** An option has the wrong type, or options that exclude each other were given. */
  readonly ERR_INVALID_OPTION: 'ERR_INVALID_OPTION';
  /** An option has the right type, but a value that is not permitted. */
  readonly ERR_OPTION_OUT_OF_RANGE: 'ERR_OPTION_OUT_OF_RANGE';
  /** There is no option of this name. */
  readonly ERR_UNKNOWN_OPTION: 'ERR_UNKNOWN_OPTION';
  /** Neither the option `auth` nor the environment variable `JWT_SECRET` says who may connect. */
  readonly ERR_AUTH_REQUIRED: 'ERR_AUTH_REQUIRED';
  /** The first argument of the constructor is neither an HTTP server nor `null`. */
  readonly ERR_INVALID_SERVER: 'ERR_INVALID_SERVER';
  /** An argument has the wrong type. */
  readonly ERR_INVALID_ARG: 'ERR_INVALID_ARG';
  /** An argument has the right type, but a value that is not permitted. */
  readonly ERR_ARG_OUT_OF_RANGE: 'ERR_ARG_OUT_OF_RANGE';
  /** The message is larger than `limits.outboxBytes`, so that no connection could ever take it. Also in an error frame. */
  readonly ERR_TOO_LARGE: 'ERR_TOO_LARGE';
  /** The connection is in `limits.roomsPerConnection` rooms; it did not join another. */
  readonly ERR_TOO_MANY_ROOMS: 'ERR_TOO_MANY_ROOMS';
  /** `JSON.stringify` threw, has nothing for the data, or would leave out what it holds, see {@link Sendable}. */
  readonly ERR_NOT_SERIALIZABLE: 'ERR_NOT_SERIALIZABLE';
  /** The manager or `RedisPubSub` is closed; see {@link WebSocketManager.close}. */
  readonly ERR_CLOSED: 'ERR_CLOSED';
  /** This process has a manager of that name. The name is free again once `close()` of that one has resolved. */
  readonly ERR_NAME_TAKEN: 'ERR_NAME_TAKEN';
  /** This process has no manager of that name. */
  readonly ERR_NO_MANAGER: 'ERR_NO_MANAGER';
  /** Redis is away. What was asked for needs other servers; nothing was published. In an error frame: only connections of the same server got the client's message. */
  readonly ERR_BROKER_UNAVAILABLE: 'ERR_BROKER_UNAVAILABLE';
  /** The link to Redis broke before it answered: the message was published to all servers, or to none. Also in an error frame. */
  readonly ERR_UNCERTAIN: 'ERR_UNCERTAIN';
  /**
   * `redis.pendingBytes` wait for Redis already: nothing was published. Also in an error frame, for a message that is
   * relayed to so many rooms, in all so many bytes, that three quarters of `redis.pendingBytes` are used up before it is
   * through: it may have reached some of the rooms.
   */
  readonly ERR_BROKER_OVERLOADED: 'ERR_BROKER_OVERLOADED';
  /** `redis.routing` is `'shared'`, whose messages can't carry binary data: nothing was published. */
  readonly ERR_NOT_REPRESENTABLE: 'ERR_NOT_REPRESENTABLE';
  /** Redis can't be reached, or the connection to it was lost. */
  readonly ERR_BROKER_CONNECT: 'ERR_BROKER_CONNECT';
  /** Redis refused the user name and password, or a command for lack of permission. */
  readonly ERR_BROKER_AUTH: 'ERR_BROKER_AUTH';
  /** Redis is older than 6.0, or than 7.0 for a cluster. */
  readonly ERR_BROKER_TOO_OLD: 'ERR_BROKER_TOO_OLD';
  /** The Redis server is a replica, or its cluster has no master for some slots. */
  readonly ERR_BROKER_ROLE: 'ERR_BROKER_ROLE';
  /** Redis does not answer. */
  readonly ERR_BROKER_TIMEOUT: 'ERR_BROKER_TIMEOUT';
  /** Redis answered something unexpected. */
  readonly ERR_BROKER_PROTOCOL: 'ERR_BROKER_PROTOCOL';
  /** A message from Redis was malformed, too large or of an unknown kind, and was skipped. */
  readonly ERR_BAD_MESSAGE: 'ERR_BAD_MESSAGE';
  /**
   * The socket can't be taken over: it is closed, taken, an earlier request on it is yet to be answered (by a client that doesn't
   * wait for answers), or the system gives no descriptor. An upgrade is refused with 503 for the last two, after the answers that are due.
   */
  readonly ERR_HANDOVER: 'ERR_HANDOVER';
  /** A listener threw or rejected; `cause` is what it threw. */
  readonly ERR_LISTENER: 'ERR_LISTENER';
  /** The native addon can't be loaded on this platform; thrown when the package is loaded. */
  readonly ERR_NATIVE_MISSING: 'ERR_NATIVE_MISSING';
  /** The call needs Node.js: a bundle for browsers or for an edge runtime got it from here. Its message says what to do. */
  readonly ERR_WRONG_RUNTIME: 'ERR_WRONG_RUNTIME';
  /** A defect of this package, or two incompatible releases of it in one process. */
  readonly ERR_INTERNAL: 'ERR_INTERNAL';
  /** 405: the request is no GET. */
  readonly ERR_BAD_METHOD: 'ERR_BAD_METHOD';
  /** 400: the request is not HTTP/1.1. */
  readonly ERR_BAD_HTTP_VERSION: 'ERR_BAD_HTTP_VERSION';
  /** 400: the request has a body. */
  readonly ERR_BAD_BODY: 'ERR_BAD_BODY';
  /** 400: the `Upgrade` header does not name `websocket`. */
  readonly ERR_BAD_UPGRADE: 'ERR_BAD_UPGRADE';
  /** 400: the `Connection` header does not name `upgrade`. */
  readonly ERR_BAD_CONNECTION: 'ERR_BAD_CONNECTION';
  /** 400: there is not exactly one `Host` header with a valid host. */
  readonly ERR_BAD_HOST: 'ERR_BAD_HOST';
  /** 426: `Sec-WebSocket-Version` is not 13. */
  readonly ERR_BAD_VERSION: 'ERR_BAD_VERSION';
  /** 400: `Sec-WebSocket-Key` is not 16 bytes in base64. */
  readonly ERR_BAD_KEY: 'ERR_BAD_KEY';
  /** 400: `Sec-WebSocket-Protocol` is no list of unique tokens. */
  readonly ERR_BAD_PROTOCOL: 'ERR_BAD_PROTOCOL';
  /** 403: `allowedOrigins` does not permit the page. */
  readonly ERR_ORIGIN_REFUSED: 'ERR_ORIGIN_REFUSED';
  /** 414: the request target is longer than `limits.maxUrlBytes`. */
  readonly ERR_URL_TOO_LONG: 'ERR_URL_TOO_LONG';
  /**
   * 431: the request headers are larger than `limits.maxHeaderBytes`, or so many (1,000, or the server's `maxHeadersCount`) that Node may
   * have dropped some.
   */
  readonly ERR_HEADERS_TOO_LARGE: 'ERR_HEADERS_TOO_LARGE';
  /** 401: the request carries no token. */
  readonly ERR_TOKEN_MISSING: 'ERR_TOKEN_MISSING';
  /** 401: the token is malformed, is signed by another key, or its claims do not fit. */
  readonly ERR_TOKEN_INVALID: 'ERR_TOKEN_INVALID';
  /** 401: the token, or `expiresAt` of the identity, has expired. */
  readonly ERR_TOKEN_EXPIRED: 'ERR_TOKEN_EXPIRED';
  /** 401: `auth.authenticate` answered `null`, `undefined` or `false`. */
  readonly ERR_UNAUTHORIZED: 'ERR_UNAUTHORIZED';
  /** The status of an {@link UpgradeRefusal} that has no code of its own. `stats().refused` counts all of them under it. */
  readonly ERR_REFUSED: 'ERR_REFUSED';
  /** 500: `auth.authenticate` threw or rejected. The client is not told what. */
  readonly ERR_AUTH_FAILED: 'ERR_AUTH_FAILED';
  /** 500: `auth.authenticate` answered something that is no identity. */
  readonly ERR_INVALID_IDENTITY: 'ERR_INVALID_IDENTITY';
  /** 408: the handshake took longer than `limits.handshakeTimeoutMs`. */
  readonly ERR_HANDSHAKE_TIMEOUT: 'ERR_HANDSHAKE_TIMEOUT';
  /** 503: there are `limits.maxConnections` already. */
  readonly ERR_TOO_MANY_CONNECTIONS: 'ERR_TOO_MANY_CONNECTIONS';
  /**
   * 503, with `Retry-After`: 1,024 tokens of this thread's clients wait to be verified, and most of them come from this
   * address. Or the system gives no thread to verify them.
   */
  readonly ERR_TOO_MANY_HANDSHAKES: 'ERR_TOO_MANY_HANDSHAKES';
  /** 503: `close()` was called. */
  readonly ERR_SHUTTING_DOWN: 'ERR_SHUTTING_DOWN';
  /** In an error frame to a client: its text is not JSON, or nested deeper than 128 levels, and was not relayed. */
  readonly ERR_INVALID_JSON: 'ERR_INVALID_JSON';
  /** In an error frame to a client: only text is relayed. */
  readonly ERR_BINARY_NOT_RELAYED: 'ERR_BINARY_NOT_RELAYED';
  /** In an error frame to a client: `relay` is `'rooms'`, and the connection is in none. */
  readonly ERR_NOT_IN_ROOM: 'ERR_NOT_IN_ROOM';
};

/** One of the error codes. */
export type ErrorCode = keyof typeof ErrorCode;

/**
 * Close codes that this package uses or reports (RFC 6455, section 7.4). Applications may use others. What a client
 * should do after each is {@link closeAdvice}'s answer, here in words.
 */
export const CloseCode: {
  /** The connection has served its purpose. Stop. */
  readonly NORMAL: 1000;
  /** The server shuts down, or the page was left. Reconnect. */
  readonly GOING_AWAY: 1001;
  /** The peer broke the WebSocket protocol. Stop. */
  readonly PROTOCOL: 1002;
  /** The peer sent a kind of data that is not taken. Stop. */
  readonly UNSUPPORTED: 1003;
  /** The peer closed without a code. Only reported, never sent. Stop. */
  readonly NO_STATUS: 1005;
  /** The connection ended without a close frame. Only reported, never sent. Reconnect. */
  readonly ABNORMAL: 1006;
  /** A text message or a close reason was not UTF-8. Stop. */
  readonly BAD_UTF8: 1007;
  /** A message was against the server's policy, or took longer than `limits.messageTimeoutMs`. Stop. */
  readonly POLICY: 1008;
  /** A message was larger than `limits.maxPayload`. Stop. */
  readonly TOO_LARGE: 1009;
  /** The server failed. Reconnect. */
  readonly INTERNAL: 1011;
  /** The server restarts, and has drained the connection. Reconnect. */
  readonly RESTART: 1012;
  /** The unfinished message had to go when memory (`limits.memoryBytes`) ran out. Reconnect. */
  readonly TRY_AGAIN_LATER: 1013;
  /** A gateway could not reach the server behind it. Never sent by this package. Reconnect. */
  readonly BAD_GATEWAY: 1014;
  /**
   * The token, or `expiresAt` of the identity, has expired: while the client was connected, or before the handshake was over
   * (`rejectWith: 'close'`). Refresh the token, then reconnect.
   */
  readonly TOKEN_EXPIRED: 4001;
  /** The application disconnected the user. Stop. */
  readonly DISCONNECTED: 4002;
  /** There was no sign of life within `heartbeat.timeoutMs`. Reconnect. */
  readonly HEARTBEAT: 4003;
  /**
   * Too much waited for the client (`limits.outboxBytes`, or `limits.memoryBytes` of all together): it did not read, read too
   * slowly, or was sent too much at once. In the second case it often sees 1006 instead. Reconnect.
   */
  readonly SLOW_CONSUMER: 4004;
  /**
   * The handshake had no valid credentials (`rejectWith: 'close'`), as when the browser has dropped an expired cookie. Refresh the
   * token, then reconnect.
   */
  readonly UNAUTHORIZED: 4401;
  /** The page's origin is not permitted (`rejectWith: 'close'`). Stop. */
  readonly FORBIDDEN: 4403;
};

/** One of the close codes that this package uses. */
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];

/**
 * What a client should do once its connection is closed: `reconnect` by itself after a random pause that grows; `refresh` its token, and
 * then do that; or `stop`, until the application or a person decides otherwise. A fresh token may be refused as well: let the pause grow
 * until a message has come.
 */
export type CloseAdvice = 'reconnect' | 'refresh' | 'stop';

/**
 * What a client should do after a close code. Runs in browsers and edge runtimes as well: a bundle for those gets {@link CloseCode},
 * {@link ErrorCode} and this function, and all else throws `ERR_WRONG_RUNTIME` when it is called. A page without a bundler can load
 * `@actory/websocket/browser.mjs`, which a server finds by `import.meta.resolve`.
 *
 * Codes that are not in {@link CloseCode} are the application's own, which knows what they mean: `'stop'`, but for those of an
 * {@link UpgradeRefusal} with status 429 or 500 to 599: 4429 and 4500 to 4599 are `'reconnect'`.
 *
 * @param code - of the `close` event
 * @param opened - whether the connection had opened. A handshake that is refused by HTTP is 1006 to a page, whatever the reason. It may have
 * been the token, so without having opened 1006 is `'refresh'`. Default `true`.
 */
export function closeAdvice(code: number, opened?: boolean): CloseAdvice;
