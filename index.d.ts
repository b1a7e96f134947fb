/// <reference types="node" />

import { EventEmitter } from 'node:events';
import type { Server as HttpServer, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Http2SecureServer } from 'node:http2';
import type { Server as HttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';

/**
 * WebSockets on the HTTP server that an application already has. Node's thread takes part in the upgrade only. From then on the
 * socket belongs to Rust threads, so a blocked event loop delays no message and ends no connection.
 *
 * The manager takes the upgrades of one path, also before listeners that were there earlier. It leaves those of other paths to
 * the server's other `upgrade` listeners, which then have to refuse an upgrade that nobody wants. If only managers listen, the
 * server's `request` handler answers such an upgrade, as if there were no `upgrade` listener.
 *
 * With an `https` server, or a socket that isn't Node's own, the bytes pass through Node (a stream bridge). Everything works
 * there, too, but a blocked event loop then delays messages.
 *
 * Listeners run one event after another; microtasks run between events. Listeners of a connection's events run in the
 * asynchronous context (`AsyncLocalStorage`) of its upgrade, or of the call of `handleUpgrade`. All other listeners run in the
 * context in which the manager was made, and so do those of a connection whose upgrade had no context. If a listener throws or
 * rejects, the manager emits `error` with `ERR_LISTENER`.
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
   * Starts listening at once. Without `options`, the environment variable `JWT_SECRET` must hold the secret that tokens are
   * signed with.
   *
   * @param server - the `http.Server`, `https.Server`, or one of HTTP/2 with `allowHTTP1`; it need not listen yet. When it
   * closes, the manager closes. `null`: no server, for applications that call {@link WebSocketManager.handleUpgrade} for every
   * upgrade, or that only send. Only {@link WebSocketManager.close} closes such a manager. Without `auth` and `JWT_SECRET`, it
   * accepts only clients for which `handleUpgrade` got an identity. If `JWT_SECRET` is set, it also accepts clients with a
   * token; `auth: { authenticate: () => null }` prevents that. It keeps the process alive no more than another manager does.
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
   * You may ignore the promise: its rejection never counts as unhandled. If the arguments are the cause (a `TypeError` or
   * `RangeError`), an ignored rejection becomes a process warning, at most one a second of each code.
   *
   * @param userId - 1 to 256 bytes of UTF-8; an integer becomes decimal
   * @param data - see {@link Sendable}
   * @returns what is known of the message's way; a message without a recipient is no error
   * @throws (rejects) TypeError `ERR_INVALID_ARG`, `ERR_UNKNOWN_OPTION`, or `ERR_NOT_SERIALIZABLE` for data that is not {@link Sendable}
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`, or `ERR_TOO_LARGE` if `data` is larger than `limits.outboxBytes`
   * @throws (rejects) TypeError `ERR_NOT_REPRESENTABLE` for binary data with `redis.routing: 'shared'`
   * @throws (rejects) Error `ERR_BROKER_OVERLOADED` if `redis.pendingBytes` wait for Redis already: nobody got it
   * @throws (rejects) Error `ERR_BROKER_UNAVAILABLE` (nobody got it) or `ERR_UNCERTAIN` with `require: 'cluster'` only
   * @throws (rejects) TypeError `ERR_NO_HISTORY` for an `idempotencyKey` where nothing is kept: nobody got it
   * @throws (rejects) Error `ERR_BROKER_FULL` if Redis can't keep the message in its history: nobody got it
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   */
  sendToUser(userId: string | number, data: Sendable, options?: SendOptions): Promise<Delivery>;

  /**
   * Sends to all connections in a room, on whichever servers they are.
   *
   * @param room - 1 to 256 bytes of UTF-8; an integer becomes decimal
   * @param data - see {@link Sendable}
   * @throws (rejects) as {@link WebSocketManager.sendToUser}
   */
  sendToRoom(room: string | number, data: Sendable, options?: SendOptions): Promise<Delivery>;

  /**
   * Sends to every connection of every server. The message is encoded once, however many get it. It is in no history.
   *
   * @param data - see {@link Sendable}
   * @throws (rejects) as {@link WebSocketManager.sendToUser}
   */
  broadcast(data: Sendable, options?: DeliveryOptions): Promise<Delivery>;

  /**
   * Reads the kept messages of a user or a room, in their order, see the option `history`. It asks nobody whether they may be
   * read: check that before you serve them to a client.
   *
   * @param topic - whose: `{ userId }` or `{ room }`
   * @returns at most `limit` messages behind the position `after`; without `after`, beginning with the oldest
   * @throws (rejects) TypeError `ERR_INVALID_ARG`, also if `after` is no position; `ERR_UNKNOWN_OPTION`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) TypeError `ERR_NO_HISTORY` if the option `history` keeps nothing of this user or room
   * @throws (rejects) Error `ERR_BROKER_UNAVAILABLE` if Redis is away, `ERR_BROKER_OVERLOADED`
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   *
   * @example
   * ```js
   * const { messages, position, recovered, hasMore } = await manager.history({ userId: '42' }, { after });
   * ```
   */
  history(topic: HistoryTopic, options?: HistoryPageOptions): Promise<HistoryPage>;

  /**
   * Answers the requests of clients that speak `actory.v1`, such as `client.request(data)` of `@actory/websocket/client`.
   *
   * The handler runs in the `AsyncLocalStorage` context of the connection's upgrade. Its result, or that of its promise, is the reply: a
   * value that `JSON.stringify` has a text for, `undefined` for `null`, or bytes. A {@link RequestError} refuses the request with its
   * code and message. Anything else that it throws becomes an `error` event (`ERR_LISTENER`), and the client gets
   * `ERR_REQUEST_FAILED`, without the reason. A request is not repeated: if the connection breaks before the reply arrives, the
   * client's promise rejects with `ERR_UNCERTAIN`.
   *
   * @returns takes the handler off; requests are refused with `ERR_NO_LISTENER` then
   * @throws TypeError `ERR_INVALID_ARG` if `handler` is no function
   * @throws Error `ERR_HANDLER_TAKEN` if there is a handler
   *
   * @example
   * ```js
   * manager.onRequest(async (connection, { seat }) => {
   *   if (!(await reserve(seat, connection.userId))) throw new RequestError('SEAT_TAKEN');
   *   return { seat };
   * });
   * ```
   */
  onRequest(handler: RequestHandler<Data>): () => void;

  /**
   * Publishes JSON on a channel of the application's own, for any subscriber of Redis: see {@link RedisPubSub}. Without Redis
   * it rejects.
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
   * @param options - `require: 'cluster'`: reject unless every server was asked. Without it, while Redis is away, connections
   * of other servers stay
   * @returns what is known of the request's way; `local` is the number of connections of this process that it closes
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
   * True if the user has an open connection, on this server or any that is in touch with Redis. `true` may be some seconds old
   * for another server, because that server forgets a user `redis.graceMs` after the last connection. If a server hangs without
   * losing its connection to Redis (SIGSTOP, a frozen machine), `true` stays for 150 seconds and more. Servers that use only
   * the channel of `redis.routing: 'shared'` are not asked.
   *
   * @throws (rejects) TypeError `ERR_INVALID_ARG`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) Error `ERR_BROKER_UNAVAILABLE` if the user isn't here, and Redis is away
   * @throws (rejects) Error `ERR_BROKER_OVERLOADED`, `ERR_UNCERTAIN`
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   */
  isOnline(userId: string | number): Promise<boolean>;

  /**
   * Counts open connections on all servers. Each server is asked, and has a second to answer.
   *
   * @param userId - count this user's connections only; default everybody's
   * @throws (rejects) TypeError `ERR_INVALID_ARG`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) Error `ERR_BROKER_OVERLOADED`
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   */
  countConnections(userId?: string | number): Promise<ConnectionCount>;

  /**
   * Takes an upgrade that the application routes itself, whatever its path. The manager takes the socket at once, and answers
   * it even if the promise rejects, except for the rejections marked "untouched".
   *
   * It may be called after an `await`: bytes that the socket has read meanwhile are taken along. Call `socket.on('error', () =>
   * {})` before the `await`: Node removes its own listener from an upgraded socket, so a client's reset would end the process.
   *
   * @param req - the request of the server's `upgrade` event
   * @param socket - its socket, or any other `Duplex` that carries the connection
   * @param head - its first bytes
   * @param identity - who the client is. With it, `auth` is not asked, but the origin is still checked. Without it, the option
   * `auth` decides.
   * @returns the open connection
   * @throws (rejects) TypeError `ERR_INVALID_ARG` or `ERR_INVALID_IDENTITY`: untouched
   * @throws (rejects) Error `ERR_CLOSED` once `close()` was called: the client gets 503 `ERR_SHUTTING_DOWN`
   * @throws (rejects) Error `ERR_HANDOVER` if the socket is closed or taken already, or an earlier request on it has no answer
   * yet (untouched); if the socket gave something else than bytes (destroyed); or if the client left meanwhile
   * @throws (rejects) Error with the code of the refusal that the client got, such as `ERR_TOKEN_INVALID`; the {@link
   * UpgradeRefusal} itself if `auth.authenticate` gave one
   */
  handleUpgrade(
    req: IncomingMessage,
    socket: Duplex,
    head?: Buffer | Uint8Array | null,
    identity?: Identity<Data>,
  ): Promise<Connection<Data>>;

  /**
   * Resolves when messages can be sent and received; with Redis, when all links to it are up. It doesn't wait for the HTTP
   * server to listen.
   *
   * @throws (rejects) Error `ERR_BROKER_CONNECT`, `ERR_BROKER_AUTH`, `ERR_BROKER_TOO_OLD`, `ERR_BROKER_ROLE`,
   * `ERR_BROKER_TIMEOUT`, `ERR_BROKER_PROTOCOL`: why Redis can't be used now. The manager keeps trying.
   * @throws (rejects) Error `ERR_CLOSED` once the manager is closed, see {@link WebSocketManager.close}
   */
  ready(): Promise<void>;

  /** Returns all counters. A call costs some microseconds, and never throws, also after `close()`. */
  stats(): Stats;

  /**
   * Refuses new connections, closes the open ones, and frees everything. The manager closes by itself, with code 1001, when the
   * HTTP server closes. It keeps the process alive until it is closed, and no longer. Further calls return the same promise.
   *
   * The manager's other calls reject with `ERR_CLOSED` from now on. With `drainMs` only `handleUpgrade` rejects at once. The
   * other calls still work, for pages and connections that are still there, until the drain is over: until the last connection
   * is gone, which may be sooner than `drainMs`. Connections that are still open receive messages meanwhile, and so do users of
   * other servers.
   *
   * @throws (rejects) TypeError `ERR_INVALID_ARG` or `ERR_UNKNOWN_OPTION`: nothing was closed
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`: nothing was closed
   */
  close(options?: CloseOptions): Promise<void>;

  /** {@link WebSocketManager.close} without options, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;

  /** `message`, where `isBinary` determines the type of `data`; see {@link WebSocketManagerEvents.message}. */
  on(event: 'message', listener: MessageListener<Data>): this;
  on<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` determines the type of `data`; see {@link WebSocketManagerEvents.message}. */
  addListener(event: 'message', listener: MessageListener<Data>): this;
  addListener<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` determines the type of `data`; see {@link WebSocketManagerEvents.message}. */
  prependListener(event: 'message', listener: MessageListener<Data>): this;
  prependListener<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` determines the type of `data`; see {@link WebSocketManagerEvents.message}. */
  once(event: 'message', listener: MessageListener<Data>): this;
  once<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` determines the type of `data`; see {@link WebSocketManagerEvents.message}. */
  prependOnceListener(event: 'message', listener: MessageListener<Data>): this;
  prependOnceListener<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` determines the type of `data`; see {@link WebSocketManagerEvents.message}. */
  off(event: 'message', listener: MessageListener<Data>): this;
  off<E extends keyof WebSocketManagerEvents<Data>>(
    event: E,
    listener: WebSocketManagerListener<E, Data>,
  ): this;
  /** `message`, where `isBinary` determines the type of `data`; see {@link WebSocketManagerEvents.message}. */
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
 * Returns the manager of that name in this process (in a worker thread: in that thread). It is for code outside the file that
 * makes the server, such as route handlers. It survives bundling and module reloads.
 *
 * @param name - default `'default'`
 * @throws TypeError `ERR_INVALID_ARG` if `name` is no string
 * @throws Error `ERR_NO_MANAGER` if there is none; the message gives the remedy
 */
export function getWebSocketManager<Data = unknown>(name?: string): WebSocketManager<Data>;

/**
 * Ends this process in order when it gets a signal. First, all managers of the process close, with `drainMs`, while requests
 * are still answered, with `Connection: close`. Then the HTTP servers close, once their requests are answered. Then `onClosed`
 * runs. Then the process exits, with `process.exitCode` or 0. If a step fails, the other steps still run. The failure becomes
 * the process warning `ACTORY_WS_SHUTDOWN`, and the exit code is 1.
 *
 * Once the requests are answered, other upgraded sockets of the servers (such as those of another WebSocket server) and
 * connections that send nothing are ended, and sessions of HTTP/2 are closed. Call this before the server listens: connections
 * from before the call are waited for, until a second before the deadline.
 *
 * The process exits at the latest at `deadlineMs`. If anything is left by then, a warning names it, and the exit code is 1. A
 * second signal, if it comes half a second after the first or later, exits at once with 128 plus the number of the signal. (A
 * signal sent to npm comes twice.)
 *
 * A process ends once, however often this is called, also by several copies of the package. Each call adds its servers, its
 * signals and its `onClosed`. The longest `drainMs` and the longest `deadlineMs` count. All `onClosed` run at the same time.
 *
 * @param server - the HTTP servers to close, one or several; `null` or an empty array where there is none
 * @throws TypeError `ERR_INVALID_SERVER` if one of them is no HTTP server, `ERR_INVALID_ARG` or `ERR_UNKNOWN_OPTION`
 * @throws RangeError `ERR_ARG_OUT_OF_RANGE` for a time out of its range, a `deadlineMs` less than `drainMs`, and a signal that
 * doesn't exist or that no process can listen to. Nothing is wired then.
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
   * The signals. With an empty array, only {@link Shutdown.start} starts the shutdown. `SIGKILL` and `SIGSTOP` can't be
   * listened to.
   *
   * @defaultValue `['SIGTERM', 'SIGINT']`
   */
  signals?: readonly NodeJS.Signals[] | undefined;
  /**
   * The time over which the closing of the connections is spread; see {@link CloseOptions.drainMs}. Milliseconds, 0 to
   * 86,400,000.
   *
   * @defaultValue `1000`
   */
  drainMs?: number | undefined;
  /**
   * The time from the signal to the exit of the process, at the latest. A second before that, or half-way from the end of the
   * drain if that is later, the waiting ends: the servers close, requests are cut off (server-sent events too), and `onClosed`
   * is called. The sender of the signal has to give the process longer than this. pm2 does not by default: `kill_timeout: 8000`
   * fits. Milliseconds, `drainMs` to 86,400,000.
   *
   * @defaultValue `drainMs + 6000`: 7000
   */
  deadlineMs?: number | undefined;
  /**
   * Called when clients and requests are gone, to close what they needed, such as a database. No new clients or requests come
   * in by then. A returned promise is awaited. If the function throws or rejects, the failure becomes a process warning, and
   * the exit code is 1.
   */
  onClosed?: (() => unknown) | undefined;
}

/** Result of {@link shutdownOnSignals}. */
export interface Shutdown {
  /** True if the process is ending: a health check answers 503 then. */
  readonly started: boolean;
  /** Has the effect of a signal, for a shutdown that begins in another way. Does nothing when the process is ending. */
  start(): void;
  /** Undoes the call, and leaves other calls in force. Does nothing when the process is ending. */
  unwire(): void;
  /** {@link Shutdown.unwire}, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Pub/Sub on channels of the application's own, JSON in and out. It connects when it is made. Like a manager, it reconnects for
 * ever, and then subscribes again to everything.
 *
 * Handlers run one message after another, in the asynchronous context in which the object was made. If a handler throws or
 * rejects, the object emits `error` with `ERR_LISTENER`. If a message isn't JSON, or is larger than 64 MiB, it emits `error`
 * with `ERR_BAD_MESSAGE`.
 *
 * A login that may use some channels only (Redis ACL, `resetchannels`) should also have `&probe:*` and `+publish`. Each
 * connection sends itself messages on that channel, to check that it still carries any. Without these rights, it can check only
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
   * @param options - error messages name them as a manager's, `redis.url`
   * @throws TypeError `ERR_INVALID_ARG`; `ERR_INVALID_OPTION`, also if there is no URL; `ERR_UNKNOWN_OPTION`
   * @throws RangeError `ERR_OPTION_OUT_OF_RANGE`
   */
  constructor(url?: string | readonly string[], options?: RedisOptions);

  /**
   * Resolves when all links to Redis are up.
   *
   * @throws (rejects) as {@link WebSocketManager.ready}; the object keeps trying
   */
  initialize(): Promise<void>;

  /**
   * Publishes a message.
   *
   * @param channel - 1 to 65,536 bytes of UTF-8. Channels are a manager's own if they begin with a manager's `redis.prefix` and
   * a colon, for any manager of this process on whichever Redis, or with the option `prefix` of this object (default
   * `'actory'`) and a colon
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
   * Calls a handler with every message of a channel, until `unsubscribe` or `close`. A channel may have several handlers; the
   * same function counts once. A subscription keeps the process alive, see {@link RedisPubSub.unref}.
   *
   * @param channel - as in {@link RedisPubSub.publish}
   * @param handler - called with the parsed message and the channel
   * @returns a promise that resolves when Redis has confirmed the subscription. While Redis is away it stays pending.
   * @throws (rejects) TypeError `ERR_INVALID_ARG`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) Error `ERR_BROKER_AUTH` if the login may not listen on the channel. If the login loses that right later,
   * the subscription ends with an `error` event of this code.
   * @throws (rejects) Error `ERR_CLOSED` once `close()` was called
   */
  // biome-ignore lint/suspicious/noExplicitAny: what is in a message is between the application's own sides
  subscribe<Message = any>(
    channel: string,
    handler: (message: Message, channel: string) => unknown,
  ): Promise<void>;

  /**
   * Removes a handler from a channel.
   *
   * @param handler - default all handlers of the channel
   * @throws (rejects) TypeError `ERR_INVALID_ARG`
   * @throws (rejects) RangeError `ERR_ARG_OUT_OF_RANGE`
   * @throws (rejects) Error `ERR_CLOSED` once `close()` was called
   */
  unsubscribe(
    channel: string,
    // biome-ignore lint/suspicious/noExplicitAny: as in `subscribe`
    handler?: (message: any, channel: string) => unknown,
  ): Promise<void>;

  /** Makes subscriptions keep the process alive again, which is the default. */
  ref(): this;
  /** Lets the process end although there are subscriptions. */
  unref(): this;

  /**
   * Waits for outstanding answers, five seconds at most, and ends everything. Further calls return the same promise.
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
  /** The links to Redis have changed. Without a listener, trouble becomes a process warning. */
  broker: [status: BrokerStatus];
  /**
   * A handler failed, or messages are not JSON (at most one such event a second). Without a listener the event becomes a
   * process warning, at most one a second of each code.
   */
  error: [error: WebSocketError];
}

/** Events of a {@link WebSocketManager}, by their arguments. An event that nobody listens to costs nothing. */
export interface WebSocketManagerEvents<Data = unknown> {
  /** A connection has opened. */
  connection: [connection: Connection<Data>];
  /**
   * A message came: text as a string, binary as a Buffer. The event is emitted for every message, also for those that the
   * option `relay` passes on, and for text that isn't JSON. Under a flood, the server stops reading a connection whose messages
   * the listeners have not taken: see `limits.eventBytesPerConnection`. Messages of one connection come in their order; those
   * of several come in turn.
   *
   * A message that `@actory/websocket/client` has sent has an `info`, too, whose type a listener has to name (`info?: MessageInfo`). The
   * promise of the client's `send()` resolves once all listeners have returned, and what they returned is fulfilled; if one fails, it
   * rejects with `ERR_LISTENER`.
   */
  message: [connection: Connection<Data>, data: string | Buffer, isBinary: boolean, info?: MessageInfo];
  /**
   * A connection has ended, after all its messages. `code` is the client's, or the one with which the connection was closed,
   * see {@link CloseCode}. It is 1002 if the client's may not be sent (1000-1003, 1007-1013, 3000-4999); the server also
   * answers with 1002 then. It is 1006 if there was no close frame. A client may send any code of the application's, so only
   * `by` says whether the server or the client chose 4002.
   */
  disconnect: [connection: Connection<Data>, code: number, reason: string, by: ClosedBy];
  /**
   * Too much waited for a connection. The waiting messages were dropped, except for a frame that is half out, and the
   * connection is being closed with 4004.
   */
  slow: [connection: Connection<Data>, dropped: Dropped];
  /**
   * A pong came: the answer to `connection.ping()`, with its data, or one that the client sent of its own accord. The answer to
   * a ping of the heartbeat doesn't emit it.
   */
  pong: [connection: Connection<Data>, data: Buffer];
  /**
   * All bytes that waited for an open connection are handed to the kernel. It is emitted when `bufferedAmount` is 0 again, and
   * only if somebody may have waited for that: since `bufferedAmount` was last 0, it was read as more than 0, or the kernel has
   * refused bytes. It is emitted once for each such time, as with `net.Socket`. It is not emitted for a connection that is
   * closing: wait for `disconnect` as well.
   */
  drain: [connection: Connection<Data>];
  /**
   * An upgrade was refused, as `stats().refused` counts. Clients can cause any number: while 1,000 wait for listeners, further
   * ones are left out.
   */
  refused: [refusal: Refusal];
  /**
   * The links between servers have changed, or a lost one is back. It is never emitted without Redis. Without a listener,
   * trouble becomes a process warning.
   */
  broker: [status: BrokerStatus];
  /**
   * Messages of a history did not arrive at this server, or may not have: its connections of that user or room have a gap
   * there. See {@link Missed} for why. Everything else that the option `history` covers has arrived, once and in its order. It
   * is never emitted without Redis. Without a listener, the gaps of a second become one process warning.
   */
  missed: [missed: Missed];
  /**
   * Something failed: a listener (`ERR_LISTENER`); `auth.authenticate` or `authorize.join` (`ERR_AUTH_FAILED`, `ERR_INVALID_IDENTITY`); the
   * takeover of a socket (`ERR_HANDOVER`); or a message from Redis was skipped (`ERR_BAD_MESSAGE`, at most one event a second).
   * Without a listener the event becomes a process warning instead of an exception, because a client can make a listener fail
   * with each of its messages. There is at most one warning a second of each code; the next one gives the number of those left
   * out.
   */
  error: [error: WebSocketError];
}

/**
 * Refuses an upgrade in the application's own words. `auth.authenticate` returns, throws, resolves or rejects with one. The
 * manager emits no `error` for it, and `stats().refused` counts it as `ERR_REFUSED`.
 *
 * The client gets an HTTP answer with the JSON body `{"code","message"}`; the message is the reason. With `rejectWith: 'close'`
 * the connection is opened and closed at once instead, with `closeCode`, and the code as the reason of the close frame.
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
  /** The code that the client gets; `ERR_REFUSED` if the application has none for it. */
  readonly code: string;
  /** Close code with `rejectWith: 'close'`. */
  readonly closeCode: number;
}

/** Contents of an {@link UpgradeRefusal}, for the client. */
export interface UpgradeRefusalOptions {
  /**
   * HTTP status, 400 to 599.
   *
   * @defaultValue `403`
   */
  status?: number | undefined;
  /**
   * Code for programs: 1 to 64 letters, digits and `_.:-`. Codes that begin with `ERR_` are this package's.
   *
   * @defaultValue `'ERR_REFUSED'`
   */
  code?: string | undefined;
  /**
   * Sentence for people, at most 1,024 bytes of UTF-8. The client gets it.
   *
   * @defaultValue `'not permitted'`
   */
  reason?: string | undefined;
  /**
   * Close code with `rejectWith: 'close'`, 4000 to 4999. {@link closeAdvice} knows those of {@link CloseCode}. For 4429 and
   * 4500 to 4599 it returns `'reconnect'`, for any other `'stop'`.
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
 * Headers that the application adds to the answer of a handshake: an object, a `Headers`, or pairs. A list, or several pairs,
 * become several headers of the name, as cookies need it. Names are tokens, values Latin-1 without line breaks (RFC 9110,
 * section 5.5), all together at most 8,192 bytes. `Sec-WebSocket-*` and the headers of the connection or of a body belong to
 * the handshake: `Connection`, `Content-Encoding`, `Content-Length`, `Content-Type`, `Keep-Alive`, `Proxy-Connection`, `TE`,
 * `Trailer`, `Transfer-Encoding`, `Upgrade`.
 */
export type HandshakeHeaders =
  | Readonly<Record<string, string | readonly string[]>>
  | Iterable<readonly [name: string, value: string]>;

/** The refusal of an upgrade. */
export interface Refusal {
  /** See {@link ErrorCode}; or the application's own code, of an {@link UpgradeRefusal}. */
  code: ErrorCode | (string & {});
  /** The sentence that the client got, unless `rejectWith` is `'close'`: a close frame has no room for it. */
  message: string;
  /**
   * The path of the request's target and the names of its parameters, without host, user and fragment. `[redacted]` stands for
   * each value, for a parameter without one, and for anything too long or too odd to be a name or a part of a path: any of them
   * may be a token. The path itself is shown, so keep tokens out of it. At most 1,024 bytes; a longer one ends in `…`.
   */
  url: string;
  /** As {@link Connection.remoteAddress}. */
  remoteAddress: string;
  /**
   * Scheme, host and port of the header `Origin`, which browsers send; `[redacted]` stands for anything else in it. At most
   * 1,024 bytes, as `url`.
   */
  origin: string | undefined;
}

/** A listener of an event. Its result is ignored, except for a promise: the promise's rejection becomes an `error` event. */
export type WebSocketManagerListener<E extends keyof WebSocketManagerEvents<Data>, Data = unknown> = (
  ...args: WebSocketManagerEvents<Data>[E]
) => unknown;

/** More about a message whose client waits for its being taken. */
export interface MessageInfo {
  /**
   * Its name, 22 characters: no other message has it, and the client sends the message under the same one again if its
   * connection breaks before it has heard of it. A manager gives listeners no message twice within two minutes after the connection
   * has broken. But a client may come back to another server, or to one that was started anew: store the name with what the message
   * does, and leave out what is done.
   */
  id: string;
}

/** Handler of {@link WebSocketManager.onRequest}. */
export type RequestHandler<Data = unknown> = (
  connection: Connection<Data>,
  // biome-ignore lint/suspicious/noExplicitAny: the JSON of a client, which is to be checked
  data: any,
  info: MessageInfo,
) => unknown;

/**
 * Refuses a request of a client in the application's own words: thrown by the handler of {@link WebSocketManager.onRequest}. The
 * promise of the client's `request()` rejects with an error of this `code` and `message`.
 */
export class RequestError extends Error {
  /**
   * @param code - 1 to 64 characters
   * @param message - at most 1,024 characters, for the client
   * @defaultValue message: `''`
   * @throws TypeError `ERR_INVALID_ARG`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  constructor(code: string, message?: string);
  /** The code that the client gets. */
  readonly code: string;
}

/** A listener of `message` with exactly three parameters, in which `isBinary` determines the type of `data`. */
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
   * Pathname whose upgrades are taken. It is compared exactly except for a trailing slash, and without the query. It begins
   * with `/`, holds no `?` and no `#`, and has at most 1,024 bytes. A server has one manager per path, until that is closed: a
   * second one throws `ERR_OPTION_OUT_OF_RANGE`.
   *
   * @defaultValue `'/api/websocket'`
   */
  path?: string | undefined;
  /**
   * Subprotocols of the application, most wanted first: the first one that the client offers is agreed on. At most 32 unique
   * tokens; `'bearer'` is not permitted, because it carries tokens.
   *
   * @defaultValue `[]`
   */
  protocols?: readonly string[] | undefined;
  /**
   * Headers of the request that are kept for {@link Connection.request}, together with its URL: at most 32 names, in any case.
   * A connection keeps them for as long as it lasts, in as many bytes as they have (`limits.maxUrlBytes` and
   * `limits.maxHeaderBytes` at most). With `[]` it keeps the URL alone.
   *
   * The headers are kept as they came: `authorization`, `cookie` and, behind `bearer`, `sec-websocket-protocol` may hold a token.
   *
   * @defaultValue none: nothing of the request is kept, and nothing is spent on it
   */
  keepHeaders?: readonly string[] | undefined;
  /**
   * The clients that may connect: those with a valid JWT; those that a function accepts; or, with `'anonymous'`, everybody,
   * each connection as a separate user with a random id.
   *
   * @defaultValue `{ jwt: { secret: process.env.JWT_SECRET } }` if that is set; else the constructor throws
   */
  auth?: 'anonymous' | JwtAuth | CallbackAuth<Data> | undefined;
  /**
   * The way in which a client is refused. `'http'`: by an HTTP answer with a JSON body, which browsers hide from scripts (they
   * see 1006). `'close'`: instead of an answer with 401 or 403, the connection is opened and closed at once with 4001 (the
   * token has expired), 4401 or 4403; each costs a handshake. Any {@link UpgradeRefusal} is sent in this way, too, with its
   * `closeCode`. Other refusals, such as 503, stay HTTP answers.
   *
   * @defaultValue `'http'`
   */
  rejectWith?: 'http' | 'close' | undefined;
  /**
   * The pages that may connect, by the `Origin` header that browsers send. Only requests with an `Origin` header are checked.
   * `'*'`: any page. A list: `scheme://host[:port]`, or with one wildcard label in front, `https://*.example.com`. Schemes
   * without hosts are named as browsers send them, `file://`. Browsers send `'null'` for every origin that they don't disclose.
   * Any page can get that origin, so it can't be used together with `auth.jwt.cookie`.
   *
   * @defaultValue the same host as in the `Host` header: with `https://`; with `http://` unless the client's connection is TLS
   * (see `trustProxy`); and with `ws://` or `wss://`, which apps send and pages never do
   */
  allowedOrigins?: '*' | readonly string[] | undefined;
  /**
   * The proxies that are trusted to report the client's address, for `remoteAddress`. Any client can send the header with the
   * address, so it counts only as far as proxies wrote it. It is read from its right end, and the client is the first address
   * there that is not one of these. If a trusted proxy reports `unknown`, an obfuscated identifier, or something that isn't an
   * IP address, `remoteAddress` is empty. It never falls back to the proxy's own address.
   *
   * A list, or one element of it: addresses, networks (`'10.0.0.0/8'`), `'loopback'` (127.0.0.0/8, ::1), `'linklocal'`
   * (169.254.0.0/16, fe80::/10), `'uniquelocal'` (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7), and `'unix'` (any peer
   * on a Unix-domain socket). Addresses of IPv4 within IPv6 count as IPv4.
   *
   * A number, 1 to 16: so many proxies, each adding an address, whichever they are. Use it only if nobody can reach the server
   * past any of them. `true` does not exist: it would trust the address that the client itself wrote.
   *
   * These proxies also report whether the client's connection is TLS, for {@link WebSocketManagerOptions.allowedOrigins}: in
   * `X-Forwarded-Proto` if the client's address stands in `X-Forwarded-For`, or in the `proto` of `Forwarded`. Nothing else is
   * taken from them: the origin is compared with `Host`, which they have to pass on.
   *
   * @defaultValue `false`: nobody
   */
  trustProxy?: false | number | string | readonly string[] | undefined;
  /**
   * The header that the proxies of `trustProxy` write. The other header is not read at all: a proxy that writes one of them
   * passes the other on as the client made it up.
   *
   * @defaultValue `'x-forwarded-for'`
   */
  proxyHeader?: 'x-forwarded-for' | 'forwarded' | undefined;
  /**
   * Detection of dead connections.
   *
   * @defaultValue `{}`
   */
  heartbeat?: HeartbeatOptions | undefined;
  /**
   * Bounds of memory and time.
   *
   * @defaultValue `{}`
   */
  limits?: LimitOptions | undefined;
  /**
   * Relays a client's messages without JavaScript: text that is JSON goes to all connections of the sender's user (`'user'`),
   * or of the rooms that the connection is in (`'rooms'`), the sender's own included. `false`: nothing is relayed. If a message
   * can't be relayed, the client gets an error frame, `{"error":{"code","message"}}`, and the connection stays open. Listeners
   * of `message` get every message in any case. `false` is for applications whose listeners answer messages.
   *
   * @defaultValue `'user'`
   */
  relay?: 'user' | 'rooms' | false | undefined;
  /**
   * The messages that are kept for a while after they were sent, of users and of rooms: those of `sendToUser` and `sendToRoom`,
   * and those that the option `relay` passes on. Each gets a position, see {@link Delivery.position}.
   * {@link WebSocketManager.history} reads them, and servers make up by them for what they missed while a link to Redis was
   * down, see {@link WebSocketManagerEvents.missed}. `true` is `{}`: of all users and all rooms. `false`: nothing is kept.
   *
   * All servers that share a Redis need the same value. It can't be used together with `redis.routing: 'shared'`. Without Redis
   * the messages are in this process, and end with it.
   *
   * @defaultValue `false`
   */
  history?: boolean | HistoryOptions | undefined;
  /**
   * The rooms that clients may join by themselves, such as by `client.join(room)` of `@actory/websocket/client`. If it is left out,
   * they may join and leave none.
   *
   * @defaultValue none
   */
  authorize?: AuthorizeOptions<Data> | undefined;
  /**
   * The Redis through which servers reach each other's connections. `false`: none, without a warning.
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

/** Amount that is kept of a user or a room. */
export interface HistoryBounds {
  /**
   * The last messages that are kept of a user or a room. 1 to 100,000. Each takes the memory of its data and some bytes more,
   * in Redis, or without Redis in this process.
   *
   * @defaultValue for one kind of topics or a pattern, that of {@link HistoryOptions}; there `100`
   */
  size?: number | undefined;
  /**
   * Time from the last message of a user or a room until all of its kept messages are dropped. Milliseconds, 1,000 to
   * 2,592,000,000 (30 days).
   *
   * @defaultValue for one kind of topics or a pattern, that of {@link HistoryOptions}; there `300000`
   */
  ttlMs?: number | undefined;
}

/** Messages that are kept. `size` and `ttlMs` hold for users and for rooms, unless these have their own. */
export interface HistoryOptions extends HistoryBounds {
  /**
   * The amount that is kept of each user. `true` is `{}`. `false`: nothing.
   *
   * @defaultValue `true`
   */
  users?: boolean | HistoryBounds | undefined;
  /**
   * The amount that is kept of each room: of all rooms alike, or by their names. `true` is `{}`. `false`: nothing.
   *
   * By their names, it is an object of at most 64 patterns, each with a value for the rooms whose names fit it. The first one
   * that a name fits counts. A room that fits none has no history; a last pattern `'**'` fits every room. A pattern has
   * segments between colons. `*` stands for one segment, whatever it is, and `**` for any number of segments, also for none:
   * `'chat:*'` fits `chat:7`, and `'chat:**'` fits `chat`, `chat:7` and `chat:7:typing`. The order is that of the object's
   * keys, in which JavaScript puts whole numbers first. `size` and `ttlMs` are patterns only if they have the value of one, or
   * if there are others.
   *
   * @defaultValue `true`
   */
  rooms?: boolean | HistoryBounds | Readonly<Record<string, boolean | HistoryBounds>> | undefined;
  /**
   * True if the Redis loses no message that it has acknowledged, not even when a replica takes its place or it restarts. The
   * servers then don't tell of a gap each time that this happens. A Redis that replicates asynchronously, as it does by itself,
   * is none of these. Messages that differ from what this server had are told of all the same.
   *
   * @defaultValue `false`
   */
  trustFailover?: boolean | undefined;
}

/**
 * The Redis to use: one server (6.0 or later), a Redis Cluster (7.0 or later), or the master that Sentinels
 * name. The servers themselves report which of these they are.
 */
export interface RedisOptions {
  /**
   * `redis://[user[:password]@]host[:port]`, `rediss://…` for TLS, or `unix:///path`. Several for a Redis Cluster (any of its
   * nodes) or for Sentinels, up to 64. A database number is permitted and has no effect: Pub/Sub knows none.
   *
   * @defaultValue `process.env.REDIS_URL`
   */
  url?: string | readonly string[] | undefined;
  /**
   * User name, instead of the one in the URL; with Sentinels, the master's. A user without a password logs in with an empty
   * one, which Redis accepts from users with `nopass`.
   *
   * @defaultValue the URL's
   */
  username?: string | undefined;
  /**
   * Password, instead of the one in the URL; with Sentinels, the master's. Empty: none.
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
   * Beginning of the names of all channels. Applications that share a Redis need different prefixes. 1 to 64 bytes without
   * braces, and without `all`, `control`, `messages`, `node`, `probe`, `room` or `user` between colons: `shop:prod` is valid,
   * `shop:user` is not.
   *
   * @defaultValue `'actory'`
   */
  prefix?: string | undefined;
  /**
   * The channels for messages to a user. `'user'`: to a separate channel of the user, to which only servers with that user
   * subscribe. `'shared'`: to one channel to which all servers subscribe, as `{"userId","data"}`, for servers that know nothing
   * else; `data` is JSON, and binary data is refused. Messages of both kinds are always received.
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
   * Time that a connection to Redis may take, TLS and login included. Milliseconds, 50 to 60,000.
   *
   * @defaultValue `2000`
   */
  connectTimeoutMs?: number | undefined;
  /**
   * Time that an answer of Redis may take before the connection is given up and made anew. Milliseconds, 100 to 60,000. Keep it
   * below `cluster-node-timeout` and Sentinel's `down-after-milliseconds`: a master that stood still for longer may have been
   * replaced, and nobody can detect that when it wakes.
   *
   * @defaultValue `3000`
   */
  commandTimeoutMs?: number | undefined;
  /**
   * Interval at which each connection publishes a message to itself, to check that it still carries any. Milliseconds, 100 to
   * 60,000.
   *
   * @defaultValue `1000`
   */
  probeIntervalMs?: number | undefined;
  /**
   * Time that a user's or room's subscription outlives its last connection here. Milliseconds, 0 to 3,600,000. If there are
   * more than 16,384 such subscriptions, the oldest are dropped earlier.
   *
   * @defaultValue `5000`
   */
  graceMs?: number | undefined;
  /**
   * Publishes that may wait for Redis. At that amount, further ones are refused with `ERR_BROKER_OVERLOADED`; the one that
   * crosses the line is accepted. Bytes, 65,536 to 4,294,967,296. While half of it is used, clients whose messages are relayed
   * are not read; the last quarter is reserved for the application.
   *
   * @defaultValue `67108864`
   */
  pendingBytes?: number | undefined;
  /**
   * TLS, for `rediss://`.
   *
   * @defaultValue `{}`
   */
  tls?: RedisTlsOptions | undefined;
}

/** TLS to Redis. Certificates and keys are PEM. */
export interface RedisTlsOptions {
  /**
   * Certificate authorities to trust, one or several in one text. A server's own self-signed certificate is an authority for
   * itself, and for others only if it says so (`CA:TRUE`).
   *
   * @defaultValue those of the system, and those of the file that the environment variable `NODE_EXTRA_CA_CERTS` names, as both
   * are when the first manager or `RedisPubSub` that needs them is made
   */
  ca?: string | Uint8Array | undefined;
  /**
   * Certificate to show to Redis, together with those between it and its authority.
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
   * Name that the server's certificate must be for: one of its alternative names, or its common name if it has none.
   *
   * @defaultValue the host of the URL
   */
  servername?: string | undefined;
  /**
   * `false` accepts any certificate, so anybody on the network path can read and change everything.
   *
   * @defaultValue `true`
   */
  rejectUnauthorized?: boolean | undefined;
}

/** `auth` by JSON Web Tokens (RFC 7519), verified in Rust. */
export interface JwtAuth {
  /**
   * Verification of tokens. A token is read from `Authorization: Bearer <token>`, else from the subprotocols (`new
   * WebSocket(url, ['bearer', token])`, the token right behind `'bearer'`; it is never echoed), else from the query, else from
   * a cookie. The query and the cookie are off by default. An invalid token is refused: the next source is not tried.
   *
   * @defaultValue `{ secret: process.env.JWT_SECRET }` if `auth` is not given at all
   */
  jwt: JwtSecretOptions | JwtPublicKeyOptions;
}

/**
 * Options of all JWTs. Claims become `connection.data`, as `JSON.parse` reads them. `exp`, `nbf` and `iat` must be numbers if
 * they are present. Two claims of one name, and a header with `crit`, are refused.
 */
export interface JwtOptions {
  /**
   * Permitted `iss`, one or several; with this option the claim is required.
   *
   * @defaultValue not checked
   */
  issuer?: string | readonly string[] | undefined;
  /**
   * `aud` must hold this, or one of these; with this option the claim is required. Without it, a token that has an `aud` is
   * refused, because it is meant for somebody else (RFC 7519, section 4.1.3). `false`: `aud` is not checked.
   *
   * @defaultValue none: tokens must have no `aud`
   */
  audience?: string | readonly string[] | false | undefined;
  /**
   * The claim that holds the user id, a non-empty string or an integer. An integer, however it is written (`10000`, `1e4`),
   * becomes decimal. An integer beyond `Number.MAX_SAFE_INTEGER` is refused, because `connection.data` could not tell it from
   * its neighbours. A string with half a surrogate pair is refused, too.
   *
   * @defaultValue `'sub'`
   */
  userIdClaim?: string | undefined;
  /**
   * Difference between the clocks of the issuer and of this server that is allowed for `exp` and `nbf`. Seconds, 0 to 300.
   *
   * @defaultValue `5`
   */
  leewaySeconds?: number | undefined;
  /**
   * True if a token without `exp` is refused. When a token with `exp` expires, its connection is closed with 4001.
   *
   * @defaultValue `true`
   */
  requireExp?: boolean | undefined;
  /**
   * Name of a cookie that may carry the token; with the prefix `__Host-` no sibling host can set it. Two different cookies of
   * the name are refused. Browsers send cookies whichever page connects, so it can't be used together with `allowedOrigins` of
   * `'*'` or `'null'`.
   *
   * @defaultValue none: cookies are not read
   */
  cookie?: string | undefined;
  /**
   * Name of a query parameter that may carry the token. Use it as the last resort, because URLs end up in the logs of proxies.
   *
   * @defaultValue none: the query is not read
   */
  query?: string | undefined;
}

/** JWTs that are signed with a shared secret. */
export interface JwtSecretOptions extends JwtOptions {
  /**
   * The shared secret, at least as long as the hash of each permitted algorithm (RFC 7518, section 3.2): 32 bytes for HS256, 48
   * for HS384, 64 for HS512. A shorter one throws `ERR_OPTION_OUT_OF_RANGE`; see `allowShortSecret`. `undefined` compiles,
   * because an environment variable may be missing, but then the constructor throws.
   *
   * @defaultValue `process.env.JWT_SECRET` if `auth` is not given at all
   */
  secret: string | Uint8Array | undefined;
  /** Excluded by `secret`. */
  publicKey?: undefined;
  /**
   * True if `secret` may be shorter than the hash. An attacker with one token can find a short secret by trying, so use this
   * only until the secret is replaced.
   *
   * @defaultValue `false`
   */
  allowShortSecret?: boolean | undefined;
  /**
   * Permitted algorithms.
   *
   * @defaultValue `['HS256']` with a secret; with a public key the algorithm of the key: `RS256`, `ES256`, `ES384` or `EdDSA`
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
  /** For a secret only. */
  allowShortSecret?: undefined;
  /**
   * Permitted algorithms, which must be of the key's kind. ES512 is not supported.
   *
   * @defaultValue `['HS256']` with a secret; with a public key the algorithm of the key: `RS256`, `ES256`, `ES384` or `EdDSA`
   */
  algorithms?:
    | readonly ('RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'EdDSA')[]
    | undefined;
}

/** `auth` by a function of the application. */
export interface CallbackAuth<Data = unknown> {
  /**
   * Returns who a client is. `null`, `undefined` or `false` refuses it with 401; an {@link UpgradeRefusal}, returned or thrown,
   * refuses it with any other status. The function may be asynchronous, within `limits.handshakeTimeoutMs`; bytes that the
   * client sends meanwhile are kept. If it throws, rejects, or returns something that is no identity, the client gets 500
   * without the reason, and the manager emits `error` with the reason.
   *
   * @defaultValue none
   */
  authenticate(req: AuthenticateRequest): AuthenticateAnswer<Data> | PromiseLike<AuthenticateAnswer<Data>>;
}

/** Result of `auth.authenticate`. */
export type AuthenticateAnswer<Data = unknown> = Identity<Data> | UpgradeRefusal | null | undefined | false;

/** Argument of `auth.authenticate`. */
export interface AuthenticateRequest {
  /** Request target with its query, as the client sent it. */
  url: string;
  /** Request method. */
  method: string;
  /** Request headers with lower-case names, as Node reads them. */
  headers: IncomingHttpHeaders;
  /**
   * Address of the client: of the peer, as Node saw it, or as a trusted proxy reports it, see `trustProxy`. Empty for a
   * Unix-domain socket, and if the proxy reports no address.
   */
  remoteAddress: string;
  /**
   * Aborts when nobody waits for the result any more: the client has left (`reason.code` is `ERR_HANDOVER`), the handshake has
   * taken longer than `limits.handshakeTimeoutMs` (`ERR_HANDSHAKE_TIMEOUT`), or the manager closes (`ERR_SHUTTING_DOWN`). It is
   * for `fetch` and database drivers. A later result, be it wrong or thrown, is ignored and emits no `error`. The signal is
   * made at its first use, and costs nothing otherwise. An `abort` listener must not throw: as with every `EventTarget` that
   * ends the process, and any client can trigger it by leaving. A test that calls `authenticate` itself passes `new
   * AbortController().signal`.
   */
  readonly signal: AbortSignal;
}

/** The user of a connection. Other keys than these are refused, with `ERR_INVALID_IDENTITY`. */
export interface Identity<Data = unknown> {
  /** The user, who may have many connections. 1 to 256 bytes of UTF-8; an integer becomes decimal. */
  userId: string | number;
  /** Rooms that the connection is in from the beginning; at most `limits.roomsPerConnection` different ones. */
  rooms?: readonly (string | number)[] | undefined;
  /** The value of `connection.data`. It stays in JavaScript, as it is. */
  data?: Data | undefined;
  /**
   * When the connection is closed with 4001. If this time is over when `auth.authenticate` returns it, the client is refused
   * with `ERR_TOKEN_EXPIRED`, which is 4001 as well with `rejectWith: 'close'`.
   */
  expiresAt?: Date | undefined;
  /**
   * Subprotocol to agree on. It must be one that the client has offered, and not a token behind `bearer`: any other is
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

/** Detection of dead connections. Pings are spread evenly over the connections; a ping costs 14 bytes and their packets. */
export interface HeartbeatOptions {
  /**
   * Interval at which every connection is pinged, also if it has other traffic: proxies want to see traffic both ways.
   * Milliseconds, 100 to 3,600,000.
   *
   * @defaultValue `30000`
   */
  intervalMs?: number | undefined;
  /**
   * Time for a sign of life after a ping, before the connection is closed with 4003; any traffic is one. Time in which
   * the server doesn't read the connection is not counted. If the bytes pass through Node (an `https` server), time in which
   * JavaScript blocks its thread for more than 100 ms is not counted either. Milliseconds, 100 to 3,600,000.
   *
   * @defaultValue `10000`
   */
  timeoutMs?: number | undefined;
}

/** Bounds of memory and time. */
export interface LimitOptions {
  /**
   * Largest message that a client may send, over all its fragments; a larger one closes with 1009. Bytes, 1 to 268,435,456. A
   * connection can make the server hold this much, for `messageTimeoutMs`. A frame that announces more is refused before its
   * payload comes. Control frames are exempt.
   *
   * @defaultValue `1048576`
   */
  maxPayload?: number | undefined;
  /**
   * Bytes that may wait to be written to one connection. Past it the connection is closed as a slow consumer, with 4004. The
   * kernel holds up to 200 KB more for it on Linux (`TCP_NOTSENT_LOWAT`, tcp(7)); elsewhere it holds as much as its socket
   * buffer grows to. A burst survives up to this size. More, at most eight times as much, fits only for the milliseconds until
   * the kernel was offered the bytes and took less: never count on it. Send a history in pieces: `while (connection.isOpen &&
   * connection.bufferedAmount > 500_000) await setTimeout(5)` before each message, until `send()` returns `false`. One message
   * always fits an empty outbox; a message that is larger than this is refused with `ERR_TOO_LARGE`. Bytes, 1,024 to
   * 1,073,741,824.
   *
   * @defaultValue `1048576`
   */
  outboxBytes?: number | undefined;
  /**
   * Memory that the outboxes of all connections that are behind and all unfinished messages may hold together. Past it,
   * connections are closed until it is enough: with 4004, or with 1013 if the cause is their unfinished message, be it not
   * complete or not yet relayed to all rooms. Connections without progress for a second go first: the client took nothing of
   * its outbox, or sent nothing more of its message, or the message was relayed to no further room. All others go next. In both
   * groups, those that hold most go first. A flood that is younger than a second, or that trickles, can still hit a healthy
   * client in the middle of a large message. Keep `maxPayload` and `outboxBytes` small against `memoryBytes`. It must be at
   * least twice the larger of both: otherwise one permitted message could never get through, and the constructor throws
   * `ERR_OPTION_OUT_OF_RANGE`.
   *
   * Under a flood, closing takes a second or two; bytes that are sent meanwhile come on top. A frame that is half out is
   * finished, unless more than 16 KiB of it remain to be sent: then the connection is reset at once, and the client sees 1006.
   *
   * A message of more than 1 KiB that lies in many outboxes counts once. Bytes that the kernel has not been offered yet don't
   * count (up to eight times `outboxBytes` each), nor does the beginning of a message in 4 KiB or less. `stats().outboxBytes`
   * and `stats().unfinishedBytes` are the held amounts; a frame that is half out counts as a whole, for `closeTimeoutMs` at
   * most. `stats().memoryLimitBytes` is the limit. Bytes, 1,048,576 to 1,099,511,627,776.
   *
   * @defaultValue a quarter of the memory that the process may use: `process.constrainedMemory()`, or
   * `os.totalmem()`; at least what two messages take, see above
   */
  memoryBytes?: number | undefined;
  /**
   * Connections at a time, handshakes included; further ones get 503. 1 to 10,000,000. An idle connection costs less than 2,000
   * bytes. Refused clients may linger beside them for 300 ms, a quarter as many and 64 at most. Clients that left hold their
   * places until their messages are dealt with; if less than a quarter is free, they hold a quarter at most.
   *
   * @defaultValue no limit
   */
  maxConnections?: number | undefined;
  /**
   * Rooms that one connection may be in. Beyond it `connection.join()` throws `ERR_TOO_MANY_ROOMS`. An identity with more is
   * refused with 500 `ERR_INVALID_IDENTITY`; a room that it names twice counts once. 1 to 1,000,000. A room costs about 300
   * bytes, and over Redis a subscription.
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
   * Time for the client to answer a close frame before the socket is cut off. This is also the longest time that the
   * end of a client that closes, leaves or breaks the protocol waits for listeners to answer its earlier messages.
   * Milliseconds, 10 to 600,000.
   *
   * @defaultValue `5000`
   */
  closeTimeoutMs?: number | undefined;
  /**
   * Time from the first byte of a message to its last, over all its fragments; each 8 KiB received give it a second more. Then
   * the connection is closed with 1008. So no client can hold memory by a message that it never ends, and a client on a slow
   * network can send large ones. The connection is checked four times within this time, and the first check starts the clock,
   * so the end comes late by at most half of it. Time in which the server doesn't read the connection doesn't count.
   * Milliseconds, 100 to 3,600,000.
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
   * Messages of one connection that may wait for listeners. Past it, or past 512 messages, the connection is not read until
   * half of them have been taken. One message always fits. Connections are served in turn, so one that has many messages
   * waiting keeps no other waiting. Bytes, of which a message counts 64 beyond its payload, 1,024 to 1,073,741,824.
   *
   * @defaultValue `262144`
   */
  eventBytesPerConnection?: number | undefined;
  /**
   * Messages of all connections together that may wait for listeners. No connection may have more waiting than this leaves
   * free, so many that flood have smaller shares, and a connection that sends little is still read. One message always fits:
   * there is a reserve of the same size for that, and for a few small ones. When the reserve is used up too, no connection is
   * read; connections with nothing waiting stand in line, and are read in its order, as listeners take messages. Bytes, 65,536
   * to 4,294,967,296.
   *
   * @defaultValue `33554432`
   */
  eventBytes?: number | undefined;
  /**
   * Read buffer of a worker thread, shared by its connections: the most that one `recv` brings. A connection that floods, or
   * that has to wait for Redis or for listeners, keeps up to as much of its own, for bytes that were read and not yet taken in.
   * Bytes, 1 to 16,777,216; one per thread.
   *
   * @defaultValue `65536`
   */
  readBufferBytes?: number | undefined;
}

/**
 * Data that can be sent. A string goes as text, as it is (lone surrogates become U+FFFD). A Buffer, typed array, DataView,
 * ArrayBuffer or SharedArrayBuffer goes as binary, and is copied before the call returns. Anything else goes as the text that
 * `JSON.stringify` makes of it.
 *
 * The call fails with `ERR_NOT_SERIALIZABLE` if `JSON.stringify` throws or makes nothing. It also fails if the text would leave
 * out the contents of the value, and none of its classes has a `toJSON`: for a promise, a Map, Set, Error or RegExp, and for a
 * value that has a name of its own and becomes `{}`, such as a Blob, WeakMap, iterator, Headers or URLSearchParams. Values
 * within an object are not checked.
 */
export type Sendable = string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer | JsonSendable;

/** Values for which `JSON.stringify` has a text, as far as a type can say. */
export type JsonSendable = number | boolean | null | object;

/** A client may join a room by itself if either of the two permits that. It may leave any room then. */
export interface AuthorizeOptions<Data = unknown> {
  /**
   * Asked for each room that a client wants to join and no claim permits, also when it joins again after a break. `true`, or a promise of
   * it, permits; anything else refuses with `ERR_JOIN_REFUSED`. A {@link RequestError} refuses with its code and message. Anything
   * else that it throws refuses with `ERR_AUTH_FAILED`, and becomes an `error` event of that code.
   *
   * @defaultValue none
   */
  join?: ((connection: Connection<Data>, room: string) => unknown) | undefined;
  /**
   * Name of a claim that lists patterns of rooms, or is one, in a client's token. The server decides by it without JavaScript. Segments of
   * a name lie between colons: `*` is one segment, `**` any number of them, none included. Needs `auth.jwt`.
   *
   * @defaultValue none
   */
  claim?: string | undefined;
}

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

/** Options of a delivery to a user or a room. */
export interface SendOptions extends DeliveryOptions {
  /**
   * `false`: the message gets no place in the history. It is for what is worth nothing later, such as "is typing". It may
   * arrive out of its order with those that have a place, and servers don't make up for it.
   *
   * @defaultValue `true`, which has no effect where nothing is kept
   */
  history?: boolean | undefined;
  /**
   * Names the message among those of its user or room: of several with the same name only the first is published. Give it one,
   * such as the id of an order and its state, to send a message again whose call rejected or was `'uncertain'`. The name is
   * kept for `ttlMs` of the history, at least for five minutes, unless Redis is emptied or evicts it. 1 to 256 bytes of UTF-8.
   *
   * @defaultValue none
   */
  idempotencyKey?: string | undefined;
}

/** Result of a delivery. It never says more than is known. */
export interface Delivery {
  /**
   * `'published'`: Redis handed the message to every server that has a recipient and is in touch with Redis. A server that has
   * lost its link reports the gap itself, see {@link BrokerStatus.gapSince}. `'local'`: Redis was away; only connections of
   * this process got the message. `'uncertain'`: the link broke before Redis answered, so either every server gets it or none,
   * perhaps late and behind newer ones. It is not sent again, because it could arrive twice.
   */
  status: 'published' | 'local' | 'uncertain';
  /**
   * At most so many servers that are in touch with Redis have a recipient; 0: none has. `null` if it isn't known, as with
   * `'local'`, `'uncertain'` and `redis.routing: 'shared'`.
   */
  nodes: number | null;
  /** Connections of this process that the message was for. It says nothing about arrivals. */
  local: number;
  /**
   * The place of the message in the history of its user or room, such as `'k3f9x2ab.7c1d09aa.1042'`, for
   * {@link HistoryPageOptions.after}. Positions can be compared for equality only. `null` if it has none: nothing is kept of
   * the topic, the call had `history: false`, `status` is not `'published'`, or a server from before histories shares the Redis, which
   * can't read positions.
   */
  position: string | null;
  /**
   * `true` if a message with the same `idempotencyKey` was published before: this one was not. `position` is then the earlier
   * one's, or `null` if the history has been lost since, `nodes` is `null` and `local` 0, because nobody was handed anything now. Left out otherwise.
   */
  repeated?: true;
}

/** A user or a room, for {@link WebSocketManager.history}. */
export type HistoryTopic =
  | {
      /** 1 to 256 bytes of UTF-8; an integer becomes decimal. */
      userId: string | number;
      /** Only without `userId`. */
      room?: undefined;
    }
  | {
      /** 1 to 256 bytes of UTF-8; an integer becomes decimal. */
      room: string | number;
      /** Only without `room`. */
      userId?: undefined;
    };

/** Options of {@link WebSocketManager.history}. */
export interface HistoryPageOptions {
  /**
   * A position: the messages behind it are meant. It is one of the same user or room, from {@link HistoryPage},
   * {@link Delivery} or {@link Missed}.
   *
   * @defaultValue none: beginning with the oldest message
   */
  after?: string | undefined;
  /**
   * Most messages of the page. 1 to 1,000. The page is in memory as a whole, so keep it small if messages are large.
   *
   * @defaultValue `100`
   */
  limit?: number | undefined;
}

/** Result of {@link WebSocketManager.history}. */
export interface HistoryPage {
  /** The messages, in their order. */
  messages: HistoryMessage[];
  /**
   * The position to read on from: pass it as `after`. It is the position of the last of `messages`, or without any that of the topic's last
   * one. `null` if the topic has no message.
   */
  position: string | null;
  /** False if messages between `after` and the first of `messages` are missing, or may be. Always true without `after`. */
  recovered: boolean;
  /** The reason for which it is not `recovered`. */
  reason?: MissedReason;
  /** True if there are more messages behind `position`. */
  hasMore: boolean;
}

/** A kept message. */
export interface HistoryMessage {
  /** Text as a string, binary as a Buffer: as the connections got it. */
  data: string | Buffer;
  /** See {@link Delivery.position}. */
  position: string;
}

/**
 * The reason that messages are missing, or may be:
 *
 * - `'failover'`: Redis restarted, or a replica took its place, and may have lost messages that it had acknowledged, or the whole
 *   history, where this server knew no message of it.
 * - `'emptied'`: the history is another one. Redis has lost the former, or, without Redis, the process was restarted.
 * - `'trimmed'`: they were not kept for so long: there were more than `size`, or `ttlMs` has passed.
 * - `'unreadable'`: Redis refuses to have them read, or one is larger than this server's `limits.outboxBytes`.
 */
export type MissedReason = 'failover' | 'emptied' | 'trimmed' | 'unreadable';

/** Argument of the event {@link WebSocketManagerEvents.missed}. */
export type Missed = (
  | {
      /** The user whose messages they are. */
      userId: string;
      /** Left out for a user. */
      room?: undefined;
    }
  | {
      /** The room whose messages they are. */
      room: string;
      /** Left out for a room. */
      userId?: undefined;
    }
) & {
  /** Why. */
  reason: MissedReason;
  /** The last message before the gap that arrived here; `null` if none had. */
  after: string | null;
  /** The last message of the gap: those behind it arrive. `null` if the topic has no message now. */
  position: string | null;
};

/** Result of {@link WebSocketManager.countConnections}. */
export interface ConnectionCount {
  /** Open connections on the servers that answered. */
  connections: number;
  /** Servers that answered, this one included. */
  servers: number;
  /** True if all servers answered. */
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
   * Close code that the clients get; one that may be sent: 1000-1003, 1007-1013, 3000-4999.
   *
   * @defaultValue `1001`, and `1012` (the server restarts) with `drainMs`
   */
  code?: number | undefined;
  /**
   * Reason that the clients get, at most 123 bytes of UTF-8.
   *
   * @defaultValue `''`
   */
  reason?: string | undefined;
}

/**
 * One WebSocket connection. There is one object per connection from the time JavaScript first sees it until its `disconnect`.
 * Afterwards the object still has its id and its user; `send()` returns `false`, and the other methods do nothing.
 */
export interface Connection<Data = unknown> {
  /** Unique over all connections of all servers. */
  readonly id: string;
  /** The user it belongs to. */
  readonly userId: string;
  /**
   * The subprotocol agreed on: the identity's, or one of `protocols`, else `'bearer'` if the client offered that; empty if
   * none.
   */
  readonly protocol: string;
  /**
   * Address of the client: of the peer, as Node saw it, or as a trusted proxy reports it, see `trustProxy`. Empty for a
   * Unix-domain socket, and if the proxy reports no address.
   */
  readonly remoteAddress: string;
  /** The kept part of the connection's request; `undefined` without the option `keepHeaders`. */
  readonly request: ConnectionRequest | undefined;
  /**
   * The application's own: `data` of the identity, or the claims of the JWT, else `undefined`. It may be set to anything, and
   * lasts as long as the object.
   */
  data: Data;
  /** The rooms that the connection is in now. */
  readonly rooms: string[];
  /**
   * Bytes that wait to be handed to the kernel, also while the connection is closing. If it is more than 0, the manager emits
   * `drain` when it is 0 again, unless the connection ends before.
   */
  readonly bufferedAmount: number;
  /**
   * True if `send()` takes messages: `false` once the connection was closed by a call, has overflowed its outbox, or has ended,
   * also if `disconnect` is yet to come. `manager.connections` has the same connections.
   */
  readonly isOpen: boolean;
  /** True if `pause()` was called, and `resume()` not since. */
  readonly isPaused: boolean;

  /**
   * Queues a message. It is not ordered against `sendToUser` and the like.
   *
   * @returns whether it was queued: `false` if the connection is closing or closed, or has just overflowed its outbox
   * (it is then closed with 4004)
   * @throws TypeError `ERR_NOT_SERIALIZABLE` for data that is not {@link Sendable}
   * @throws RangeError `ERR_TOO_LARGE` if `data` is larger than `limits.outboxBytes`
   */
  send(data: Sendable): boolean;

  /**
   * Closes the connection, after the queued messages. The client has `limits.closeTimeoutMs` to answer. `message` is still
   * emitted for messages that came before this call; {@link Connection.terminate} ends that as well.
   *
   * @param code - close code; one that may be sent: 1000-1003, 1007-1013, 3000-4999. Without a code and without a reason, the
   * close frame is empty, and both sides see 1005. With a reason alone the code is 1000, because a reason needs a code.
   * @param reason - at most 123 bytes of UTF-8, default empty
   * @throws TypeError `ERR_INVALID_ARG`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  close(code?: number, reason?: string): void;

  /**
   * Ends the connection at once: no close frame is sent, and waiting messages are dropped. The client sees 1006; `disconnect`
   * has 1006, too, with `by` `'server'`. A connection that is closing already ends with the code of that closing. The manager
   * emits nothing more for the connection but `disconnect`, and `slow` if its outbox had overflowed before.
   */
  terminate(): void;

  /**
   * Pings the client, behind the queued messages. The client's answer emits `pong`. The heartbeat pings by itself: this method
   * is for measuring, or for data of your own. The three bytes `\x16hb` are reserved for the heartbeat's pings: their answers
   * don't emit `pong`.
   *
   * @param data - a string or bytes, at most 125 bytes, default empty
   * @returns whether it was queued: `false` if the connection is closing or closed, or so much waits that it is closed with
   * 4004
   * @throws TypeError `ERR_INVALID_ARG`, or `ERR_NOT_SERIALIZABLE` for a buffer that was detached, or a view on one that was or has shrunk
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  ping(data?: string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer): boolean;

  /**
   * Stops reading from the client until `resume()`, so that TCP stops the client's sending. Messages that were read before
   * still come: at most as many as `limits.eventBytesPerConnection` and one read leave, and none that the client sends after
   * this call. The heartbeat's clock stands still meanwhile, and the end of a client that left may be noticed only after
   * `resume()`. A paused connection can be written to and closed.
   */
  pause(): void;

  /** Reads from the client again. Like `pause()`, it has no effect once the connection has ended or was terminated. */
  resume(): void;

  /**
   * Puts the connection into a room; does nothing if it is in there. The connection gets messages that this process sends to
   * the room after this call. It may miss messages that other processes send before Redis has confirmed the subscription,
   * commonly within a millisecond. If that takes longer than a second, or Redis is away, a `broker` event reports a gap, see
   * {@link BrokerStatus.gapSince}.
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

/** The part of its request that a connection keeps, see `keepHeaders`. */
export interface ConnectionRequest {
  /**
   * Request target with its query, as the client sent it. `[redacted]` replaces the value of the parameter that
   * `auth.jwt.query` names. Other secrets in the query remain, so mind your logs.
   */
  readonly url: string;
  /**
   * The headers named in `keepHeaders` that the client sent, by lower-case names. Several headers of one name are one value,
   * with a comma between them (`cookie`: a semicolon). The object has no prototype.
   */
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** The connections of this process. Messages that are sent here pass no broker, and reach no other server. */
export interface ConnectionManager<Data = unknown> extends Iterable<Connection<Data>> {
  /** Open connections. */
  readonly size: number;
  /** Users that have at least one connection. */
  readonly userCount: number;

  /** Ids of the users that have at least one connection. */
  users(): string[];

  /**
   * Returns the connection of that id, if it is open.
   *
   * @throws TypeError `ERR_INVALID_ARG` if `id` is no string
   */
  get(id: string): Connection<Data> | undefined;

  /**
   * Returns the open connections of a user. Makes objects for those that JavaScript has not seen yet.
   *
   * @throws TypeError `ERR_INVALID_ARG`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  ofUser(userId: string | number): Connection<Data>[];

  /**
   * Returns the open connections in a room. Makes objects for those that JavaScript has not seen yet.
   *
   * @throws TypeError `ERR_INVALID_ARG`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  inRoom(room: string | number): Connection<Data>[];

  /**
   * Sends to all connections of a user in this process.
   *
   * @returns the number of outboxes that took it; 0 once the manager is closing
   * @throws TypeError `ERR_INVALID_ARG`, `ERR_NOT_SERIALIZABLE`
   * @throws RangeError `ERR_ARG_OUT_OF_RANGE`, `ERR_TOO_LARGE`
   */
  sendToUser(userId: string | number, data: Sendable): number;

  /**
   * Sends to all connections of this process.
   *
   * @returns the number of outboxes that took it; 0 once the manager is closing
   * @throws TypeError `ERR_NOT_SERIALIZABLE`
   * @throws RangeError `ERR_TOO_LARGE`
   */
  broadcast(data: Sendable): number;

  /**
   * All open connections. Makes an object for each, some hundred bytes: for many connections, prefer `users()`, `ofUser()` and
   * `inRoom()`.
   */
  [Symbol.iterator](): IterableIterator<Connection<Data>>;
}

/**
 * Messages that were dropped for a slow consumer. A frame that is half out is not part of them, because it is still to be
 * finished. If the connection is cut off before that, only `stats().messages.dropped` counts its message.
 */
export interface Dropped {
  /** Bytes that waited in the outbox, frame heads included. */
  droppedBytes: number;
  /** Messages that waited in the outbox. */
  droppedMessages: number;
}

/** State of the links between servers. */
export interface BrokerStatus {
  /**
   * `'up'`: every link works. `'degraded'`: a link is slow to answer, or some of several are down. `'down'`: none works, and
   * messages reach connections of this process only.
   */
  state: BrokerState;
  /** Since when, in Unix milliseconds. */
  since: number;
  /** The reason, if it isn't up. */
  error?: WebSocketError;
  /**
   * The beginning of a gap. It is given when a lost link is back, or when a connection that was opened unconfirmed gets
   * everything from now on. A message may have been missed here if its publishing, from the call to the answer, touches the
   * time from `gapSince` to `gapUntil`. Unix milliseconds, by the clock of this machine as it is set now: allow for the
   * difference when you compare them with times of another machine.
   */
  gapSince?: number;
  /** The end of the gap, see `gapSince`. */
  gapUntil?: number;
}

/**
 * The side that ended a connection:
 *
 * - `'peer'`: the client sent the first close frame (RFC 6455, section 5.5.1). The code is its choice.
 * - `'server'`: this side sent it: the application, a shutdown, a token's end, a limit, or a violation of the protocol.
 * - `'network'`: no side sent one. The transport broke or ended without a close frame (1006), or the client gave no sign of
 *   life within `heartbeat.timeoutMs` (4003).
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
  /** Users with at least one connection. */
  users: number;
  /** Rooms with at least one connection. */
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
  /** Bytes that outboxes and unfinished messages may hold together: `limits.memoryBytes`, or its default. */
  memoryLimitBytes: number;
  /** Worker threads; 0 after `close()`. */
  threads: number;
  /** The links between servers. */
  broker: BrokerStats;
}

/** Counters of the links between servers, most of them since the manager was made. Without Redis they stay at 0. */
export interface BrokerStats {
  /** `'memory'`: without Redis; this process is on its own. */
  kind: 'memory' | 'redis';
  /** See {@link BrokerStatus}. */
  state: BrokerState;
  /** Since when, in Unix milliseconds. */
  since: number;
  /** The code of the reason; `null` if it is up. */
  code: ErrorCode | null;
  /** The reason in words; `null` if it is up. */
  reason: string | null;
  /** Channels subscribed to, now. */
  subscriptions: number;
  /** Publishes that Redis has not answered, now. */
  pending: number;
  /** Bytes of the publishes that Redis has not answered, now. */
  pendingBytes: number;
  /** Publishes that Redis took. */
  published: number;
  /** Publishes that reached connections of this process only, because Redis was away. */
  local: number;
  /** Publishes whose outcome is unknown. */
  uncertain: number;
  /** Messages that came from Redis. */
  received: number;
  /** Messages from Redis that were malformed, too large, of an unknown kind or not permitted on their channel, and were skipped. */
  ignored: number;
  /** Gaps that were reported, see {@link BrokerStatus.gapSince}. */
  gaps: number;
  /** Connections that were opened before their subscription was confirmed, because Redis was away or slow. */
  unconfirmed: number;
  /** Messages that did not come in their order, and were repaired from a history. */
  repaired: number;
  /** Events `missed`. */
  missed: number;
}

/** Error that this package throws, rejects with and emits. */
export interface WebSocketError extends Error {
  /** Identifies the error: stable, and safe to compare. The message is for people, and may change. */
  code: ErrorCode;
  /** The value that the application's own code threw, if it threw one. */
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
  /** The message is larger than `limits.outboxBytes`, so no connection could ever take it. Also in an error frame. */
  readonly ERR_TOO_LARGE: 'ERR_TOO_LARGE';
  /** The connection is in `limits.roomsPerConnection` rooms; it did not join another. */
  readonly ERR_TOO_MANY_ROOMS: 'ERR_TOO_MANY_ROOMS';
  /** `JSON.stringify` threw, has nothing for the data, or would leave out its contents, see {@link Sendable}. */
  readonly ERR_NOT_SERIALIZABLE: 'ERR_NOT_SERIALIZABLE';
  /** The manager or `RedisPubSub` is closed; see {@link WebSocketManager.close}. */
  readonly ERR_CLOSED: 'ERR_CLOSED';
  /** This process has a manager of that name. The name is free again once `close()` of that one has resolved. */
  readonly ERR_NAME_TAKEN: 'ERR_NAME_TAKEN';
  /** {@link WebSocketManager.onRequest} was called while there was a handler. */
  readonly ERR_HANDLER_TAKEN: 'ERR_HANDLER_TAKEN';
  /** This process has no manager of that name. */
  readonly ERR_NO_MANAGER: 'ERR_NO_MANAGER';
  /**
   * Redis is away. The call needs other servers; nothing was published. In an error frame: only connections of the same server
   * got the client's message.
   */
  readonly ERR_BROKER_UNAVAILABLE: 'ERR_BROKER_UNAVAILABLE';
  /** The link to Redis broke before it answered: the message was published to all servers, or to none. Also in an error frame. */
  readonly ERR_UNCERTAIN: 'ERR_UNCERTAIN';
  /**
   * `redis.pendingBytes` wait for Redis already: nothing was published. Also in an error frame, for a message that is relayed
   * to very many rooms, in very many bytes, so that three quarters of `redis.pendingBytes` are used up before the last room: it
   * may have reached some of the rooms.
   */
  readonly ERR_BROKER_OVERLOADED: 'ERR_BROKER_OVERLOADED';
  /** `redis.routing` is `'shared'`, whose messages can't carry binary data: nothing was published. */
  readonly ERR_NOT_REPRESENTABLE: 'ERR_NOT_REPRESENTABLE';
  /**
   * The option `history` keeps nothing of this user or room, or the call had `history: false` and an `idempotencyKey`: nothing
   * was published.
   */
  readonly ERR_NO_HISTORY: 'ERR_NO_HISTORY';
  /**
   * Redis can't keep the message: it is out of memory, or has too few replicas (`min-replicas-to-write`). Nothing was
   * published.
   */
  readonly ERR_BROKER_FULL: 'ERR_BROKER_FULL';
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
   * The socket can't be taken over: it is closed or taken; or an earlier request on it has no answer yet (its client doesn't
   * wait for answers); or the system gives no descriptor. An upgrade is refused with 503 for the last two, after the
   * outstanding answers.
   */
  readonly ERR_HANDOVER: 'ERR_HANDOVER';
  /** A listener threw or rejected; `cause` is the thrown value. */
  readonly ERR_LISTENER: 'ERR_LISTENER';
  /** The native addon can't be loaded on this platform; thrown when the package is loaded. */
  readonly ERR_NATIVE_MISSING: 'ERR_NATIVE_MISSING';
  /** The call needs Node.js: a bundle for browsers or for an edge runtime got it from here. The message gives the remedy. */
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
  /** 401: `auth.authenticate` returned `null`, `undefined` or `false`. */
  readonly ERR_UNAUTHORIZED: 'ERR_UNAUTHORIZED';
  /**
   * The status of an {@link UpgradeRefusal} that has no code of its own. `stats().refused` counts every {@link UpgradeRefusal}
   * under it.
   */
  readonly ERR_REFUSED: 'ERR_REFUSED';
  /** 500: `auth.authenticate` threw or rejected, or `authorize.join` did. The client doesn't get the reason. */
  readonly ERR_AUTH_FAILED: 'ERR_AUTH_FAILED';
  /** 500: `auth.authenticate` returned something that is no identity. */
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
  /**
   * Told to a client that speaks `actory.v1`: nobody takes its message, for there is neither a listener of `message` nor a relay, or
   * no handler for a request.
   */
  readonly ERR_NO_LISTENER: 'ERR_NO_LISTENER';
  /** Told to a client that speaks `actory.v1`: it may not join the room, or leave it. See {@link AuthorizeOptions}. */
  readonly ERR_JOIN_REFUSED: 'ERR_JOIN_REFUSED';
  /** Told to a client that speaks `actory.v1`: the handler of {@link WebSocketManager.onRequest} failed. */
  readonly ERR_REQUEST_FAILED: 'ERR_REQUEST_FAILED';
  /** Told to a client that speaks `actory.v1`: 256 of its messages and requests wait for an answer already. */
  readonly ERR_TOO_MANY_UNANSWERED: 'ERR_TOO_MANY_UNANSWERED';
  /** Told to a client that speaks `actory.v1`: its frame is no message, or it asks for too much at once. */
  readonly ERR_INVALID_MESSAGE: 'ERR_INVALID_MESSAGE';
  /** Told to a client that speaks `actory.v1`: this server doesn't know the message's type. */
  readonly ERR_UNKNOWN_TYPE: 'ERR_UNKNOWN_TYPE';
  /** In an error frame to a client: `relay` is `'rooms'`, and the connection is in no room. */
  readonly ERR_NOT_IN_ROOM: 'ERR_NOT_IN_ROOM';
};

/** One of the error codes. */
export type ErrorCode = keyof typeof ErrorCode;

/**
 * Close codes that this package uses or reports (RFC 6455, section 7.4). Applications may use others. {@link closeAdvice}
 * returns what a client should do after each; the comments here have it in words.
 */
export const CloseCode: {
  /** The connection has served its purpose. Stop. */
  readonly NORMAL: 1000;
  /** The server shuts down, or the page was left. Reconnect. */
  readonly GOING_AWAY: 1001;
  /** The peer broke the WebSocket protocol. Stop. */
  readonly PROTOCOL: 1002;
  /** The peer sent a kind of data that is not accepted. Stop. */
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
  /** The unfinished message was dropped when memory (`limits.memoryBytes`) ran out. Reconnect. */
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
   * slowly, or was sent too much at once. With `limits.memoryBytes` it often sees 1006 instead. Reconnect.
   */
  readonly SLOW_CONSUMER: 4004;
  /**
   * The handshake had no valid credentials (`rejectWith: 'close'`), for example because the browser dropped an expired cookie.
   * Refresh the token, then reconnect.
   */
  readonly UNAUTHORIZED: 4401;
  /** The page's origin is not permitted (`rejectWith: 'close'`). Stop. */
  readonly FORBIDDEN: 4403;
};

/** One of the close codes that this package uses. */
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];

/**
 * The action of a client after its connection has closed: `reconnect` by itself after a random pause that grows; `refresh` its
 * token, then reconnect; or `stop`, until the application or a person decides otherwise. A fresh token may be refused as well:
 * let the pause grow until a message has come.
 */
export type CloseAdvice = 'reconnect' | 'refresh' | 'stop';

/**
 * Returns what a client should do after a close code. It runs in browsers and edge runtimes as well: a bundle for those gets
 * {@link CloseCode}, {@link ErrorCode} and this function, and all else throws `ERR_WRONG_RUNTIME` when it is called. A page
 * without a bundler can load `@actory/websocket/browser.mjs`, which a server finds by `import.meta.resolve`.
 *
 * Codes outside {@link CloseCode} are the application's own, which knows their meaning: `'stop'`. The exceptions are those of
 * an {@link UpgradeRefusal} with status 429 or 500 to 599: for 4429 and 4500 to 4599 it returns `'reconnect'`.
 *
 * @param code - of the `close` event
 * @param opened - whether the connection had opened. A page sees 1006 for every handshake that is refused by HTTP, whatever the
 * reason. The token may have been the reason, so for 1006 without an opened connection it returns `'refresh'`. Default `true`.
 */
export function closeAdvice(code: number, opened?: boolean): CloseAdvice;
