import type { Server as HttpServer } from 'node:http';
import type { Http2SecureServer } from 'node:http2';
import type { Server as HttpsServer } from 'node:https';
import type { ClientMessage, WebSocketClient, WebSocketClientOptions } from '../client/index.mjs' with {
  'resolution-mode': 'import',
};
import type { WebSocketManager, WebSocketManagerOptions } from '../index.js';

/**
 * Makes a manager with its HTTP server on a free port of this machine, for a test. Everything is real: the server, the
 * connections, the tokens. Fake timers of jest and vitest stop none of it.
 *
 * @typeParam Data - type of `connection.data`; follows from `auth.authenticate` if that is given
 * @returns the server, once clients can connect
 * @throws (rejects) as the constructor of {@link WebSocketManager}, and as its `ready()` with the option `redis`
 * @throws (rejects) TypeError `ERR_INVALID_ARG` if `options` is no object, `ERR_INVALID_OPTION` if `timeoutMs` is no number
 * @throws (rejects) RangeError `ERR_OPTION_OUT_OF_RANGE` for another `timeoutMs` that is not permitted
 * @throws (rejects) TypeError `ERR_INVALID_SERVER` if `server` listens on something else than a port
 *
 * @example
 * ```js
 * const app = await createTestServer();
 * const ada = await app.connect('ada');
 * await app.manager.sendToUser('ada', { hello: 'world' });
 * expect(await ada.next()).toEqual({ hello: 'world' });
 * await app.close();
 * ```
 */
export function createTestServer<Data = unknown>(
  options?: TestServerOptions<Data>,
): Promise<TestServer<Data>>;

/**
 * Options of {@link createTestServer}: those of the manager, with other defaults, and two more.
 *
 * - `auth`: tokens with a random secret
 * - `name`: `'default'`, which `getWebSocketManager()` finds; if this process has such a manager already, a name of its own
 * - `redis`: `false`, also if `REDIS_URL` is set
 */
export type TestServerOptions<Data = unknown> = WebSocketManagerOptions<Data> & TestHostOptions;

/** Options of {@link createTestServer} that a manager does not have. */
export interface TestHostOptions {
  /**
   * HTTP server of the application. It listens on a free port, unless it listens already. {@link TestServer.close} closes it.
   *
   * @defaultValue a server that answers every request with 404
   */
  server?: HttpServer | HttpsServer | Http2SecureServer | undefined;
  /**
   * Milliseconds that `connect()` and `next()` wait, above 0 and at most 2,147,483,647.
   *
   * @defaultValue `4000`, less than the 5 seconds after which jest and vitest end a test without a word of what it waited for
   */
  timeoutMs?: number | undefined;
}

/** A manager and its server, for a test. Its functions need no `this`. */
export interface TestServer<Data = unknown> {
  /** The manager. */
  readonly manager: WebSocketManager<Data>;
  /** The HTTP server. */
  readonly server: HttpServer | HttpsServer | Http2SecureServer;
  /** Where clients connect: `ws://127.0.0.1:PORT/api/websocket`, and `wss:` if the server has TLS. */
  readonly url: string;

  /**
   * Signs a token of a user, which is valid for an hour of the system's clock, whatever the time is that a test has faked. It
   * signs with `auth.jwt.secret` if that is given, and has the `iss`, the `aud` and the claim of the user that `auth.jwt` asks for.
   *
   * @param userId - 1 to 256 bytes of UTF-8; an integer becomes decimal
   * @param claims - more claims, or others: `{ exp: 1 }` makes a token that has expired
   * @throws TypeError `ERR_INVALID_OPTION` if `auth` has no secret: give {@link TestServer.connect} a `token`, or no user
   * @throws TypeError `ERR_INVALID_ARG`, RangeError `ERR_ARG_OUT_OF_RANGE`
   */
  tokenFor(userId: string | number, claims?: Record<string, unknown>): string;

  /**
   * Connects a client, and resolves when it is open. After that it comes back by itself when it loses its connection, with a
   * token of {@link TestServer.tokenFor} and within a tenth of a second. {@link TestServer.close} closes it, if the test does not.
   *
   * @param userId - the user; `undefined`: no token
   * @param options - those of the client. The class `WebSocket` is by default Node's, and before Node 22 that of npm's `ws`
   * @throws (rejects) Error with the code of the refusal, such as `ERR_TOKEN_INVALID`, if the manager refuses the
   * client. Of several that it refuses at the same time, one may get the code of another
   * @throws (rejects) Error `ERR_CLOSED` if the connection ended before it was open, or the server is closed
   * @throws (rejects) Error `ERR_TIMEOUT` if it is not open within `timeoutMs`
   * @throws (rejects) as {@link TestServer.tokenFor}, unless `options.token` is given, and as the constructor of the client
   * @throws (rejects) TypeError `ERR_INVALID_OPTION` if Node has no WebSocket, and there is no `ws`
   */
  connect(userId?: string | number, options?: WebSocketClientOptions): Promise<TestClient>;

  /** Closes the clients, the manager and the HTTP server, and resolves when all have ended. Further calls return the same promise. */
  close(): Promise<void>;

  /** {@link TestServer.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A client of `@actory/websocket/client` that keeps what comes until a test takes it. */
export interface TestClient extends WebSocketClient {
  /** The data of all messages that came, in their order, whether taken or not. */
  readonly messages: unknown[];

  /**
   * Takes the next message: the first that came and was not taken yet, or the first to come. You may ignore the promise: its
   * rejection never counts as unhandled.
   *
   * @returns its data
   * @throws (rejects) Error `ERR_TIMEOUT` if there is none within `timeoutMs`. The message says what did come
   * @throws (rejects) Error `ERR_CLOSED` if the client is closed. If the server closed it, `closeCode` and `reason` are the server's
   * @throws (rejects) TypeError `ERR_INVALID_ARG`, `ERR_INVALID_OPTION`, RangeError `ERR_OPTION_OUT_OF_RANGE`
   */
  // biome-ignore lint/suspicious/noExplicitAny: what a test sent itself, as of JSON.parse
  next<Data = any>(options?: NextOptions): Promise<Data>;
  /**
   * Takes the next message for which `predicate` answers true. Others stay where they are.
   *
   * @param predicate - gets the data, and the message as the client's event has it. If it throws, `next()` rejects with that
   * @throws (rejects) as `next()` without it
   */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  next<Data = any>(
    predicate: (data: Data, message: ClientMessage<Data>) => unknown,
    options?: NextOptions,
  ): Promise<Data>;
}

/** Options of {@link TestClient.next}. */
export interface NextOptions {
  /**
   * Milliseconds to wait, above 0 and at most 2,147,483,647.
   *
   * @defaultValue `timeoutMs` of {@link createTestServer}
   */
  timeoutMs?: number | undefined;
}
