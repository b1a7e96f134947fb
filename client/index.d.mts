/**
 * A client of a `WebSocketManager` that comes back by itself and gets what it missed meanwhile, in order and once, or says what it
 * can't get (`missed`). It speaks `actory.v1` (docs/protocol.md). For browsers and Node from 22 on.
 *
 * It connects at once. Positions of topics are kept as long as the object is, also through `close()`.
 *
 * @example
 * ```js
 * const client = new WebSocketClient('wss://example.com/api/websocket', { token: () => fetchToken() });
 * client.on('message', ({ data, room }) => show(room, data));
 * client.on('missed', ({ topic, reason }) => reload(topic, reason));
 * client.on('status', (status) => (badge.textContent = status));
 * ```
 */
export class WebSocketClient extends CoreClient {
  /** The rooms that the client is in; while it is away, those that it was in. */
  readonly rooms: string[];
  /** Milliseconds that the server's clock was ahead of this one when the connection began, plus the time that took to arrive. */
  readonly clockOffset: number;

  /**
   * Asks the application, whose `manager.onRequest` answers. A request waits for the connection, for at most `timeoutMs`. It is written
   * once: if the connection breaks before the reply comes, nobody knows whether it was served.
   *
   * @param data - as {@link CoreClient.send} takes it
   * @returns the reply: a JSON value, or a `Uint8Array`. No rejection of it is an unhandled one
   * @throws (rejects) Error with the code of the server's `RequestError`; `ERR_REQUEST_FAILED`, `ERR_NO_LISTENER`,
   * `ERR_TOO_MANY_UNANSWERED`, `ERR_TOO_LARGE`
   * @throws (rejects) Error `ERR_INVALID_ARG` for another `timeoutMs`
   * @throws (rejects) Error `ERR_TIMEOUT` without a reply in time, `ERR_UNCERTAIN` if the connection broke first
   * @throws (rejects) the reason of `signal`, once that aborts
   * @throws (rejects) as {@link CoreClient.send}
   */
  request<Reply = unknown>(data: unknown, options?: RequestOptions): Promise<Reply>;

  /**
   * Joins a room, and joins it again after each break, until {@link WebSocketClient.leave}: the manager's option `authorize` says who may.
   * While the client is away, it joins when it is back. A room that it may not join again is told by `left` and `error`. If the
   * application takes the client out of a room, it does not join again.
   *
   * @param room - 1 to 256 bytes of UTF-8
   * @returns resolves once the client is in the room; the same promise until it leaves
   * @throws (rejects) Error `ERR_JOIN_REFUSED`, `ERR_TOO_MANY_ROOMS`, `ERR_AUTH_FAILED`, `ERR_INVALID_MESSAGE`, or the code of the
   * application's `RequestError`
   * @throws (rejects) Error `ERR_LEFT` if `leave()` is called first, `ERR_USER_CHANGED` if the client is
   * another user when it is back, `ERR_CLOSED` if the status is `closed`, or becomes that first
   */
  join(room: string): Promise<void>;

  /**
   * Leaves a room, also one that the application has put the client into.
   *
   * @returns resolves once it is out of it
   * @throws (rejects) Error `ERR_JOIN_REFUSED` if the manager has no option `authorize`; `ERR_UNCERTAIN` if the connection broke first: the
   * client is not in the room afterwards, unless the application puts it there
   */
  leave(room: string): Promise<void>;
}

/** Options of {@link WebSocketClient.request}. */
export interface RequestOptions {
  /**
   * Milliseconds until it is given up: above 0, below 2^31.
   * @defaultValue 10,000
   */
  timeoutMs?: number | undefined;
  /** Gives the request up. */
  signal?: AbortSignal | undefined;
}

/** The part of {@link WebSocketClient} that receives, resumes and sends, for pages that count bytes: 5 kB gzipped. */
export class CoreClient {
  /**
   * Connects at once. Listeners that are added before the caller awaits anything miss nothing.
   *
   * @param url - `ws:`, `wss:`, `http:` or `https:`; in a page it may be relative
   * @throws Error `ERR_INVALID_ARG` for another url, `ERR_INVALID_OPTION` for an option of the wrong type or out of its range,
   * `ERR_UNKNOWN_OPTION` for one that does not exist
   */
  constructor(url: string | URL, options?: WebSocketClientOptions);

  /** State of the connection, see {@link ClientStatus}. */
  readonly status: ClientStatus;
  /** The user that the server took this client for, from the first connection on. */
  readonly userId: string | undefined;

  /**
   * Calls `listener` at each such event, in the order of events. One that throws keeps nobody else from it: the error
   * becomes an uncaught one.
   *
   * @returns takes the listener off
   */
  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void;

  /**
   * Sends to the application, or keeps it until the connection is open. What the server has not confirmed when the connection breaks
   * goes again to the next one, under the same name. Messages go in their order.
   *
   * @param data - a value that `JSON.stringify` has a text for, or bytes, which go as a binary frame
   * @returns resolves once the server has taken it: all listeners of `message` have dealt with it, and it is relayed, as the server has
   * it. Nobody has to wait for that: a rejection is no unhandled one, but for `ERR_NOT_SERIALIZABLE`
   * @throws (rejects) Error `ERR_QUEUE_FULL` if more than `queueBytes` would wait; what waits already stays. A message of any size goes
   * while the connection is open and nothing waits
   * @throws (rejects) Error `ERR_NOT_SERIALIZABLE` if `JSON.stringify` throws or makes nothing
   * @throws (rejects) Error `ERR_CLOSED` while the status is `closed`, or if it becomes that first; `ERR_UNCERTAIN` if the message was
   * written by then
   * @throws (rejects) Error `ERR_USER_CHANGED` if the client is another user when it is back
   * @throws (rejects) Error `ERR_LISTENER`, `ERR_NO_LISTENER`, `ERR_TOO_MANY_UNANSWERED`, or a code of the relay, as the server says
   */
  send(data: unknown): Promise<void>;

  /** Ends the connection, gives up what waits, and stays away until {@link CoreClient.reconnect}. */
  close(): void;

  /** Connects anew without a pause, whatever the status. */
  reconnect(): void;
}

/** Options of a {@link WebSocketClient}. */
export interface WebSocketClientOptions {
  /**
   * The token, or a function that is asked for it before each connection, and in the last quarter of its time: {@link WebSocketClient}
   * renews it on the open connection, {@link CoreClient} does not. A failure of that is told by `error` (`ERR_TOKEN`), and the connection
   * goes on to the end of the old token.
   * If that throws or rejects, `error` tells `ERR_TOKEN`, and
   * the client asks again after a pause. Without a function, the client gives up when the server wants a fresh token.
   * @defaultValue none: cookies, or nobody
   */
  token?: string | (() => string | Promise<string>) | undefined;
  /** Pauses before it connects again: a random part of `minMs`, doubled with each failure up to `maxMs`. */
  reconnect?: ReconnectOptions | undefined;
  /**
   * Bytes that may wait to be sent, or to be confirmed.
   * @defaultValue 1,048,576
   */
  queueBytes?: number | undefined;
  /**
   * Milliseconds without a message after which the client asks for a sign of life. After half as many again it takes the link for
   * dead and connects anew. A connection that takes longer to open is dead as well.
   * @defaultValue 20,000
   */
  silenceMs?: number | undefined;
  /**
   * Class to make connections of.
   * @defaultValue `globalThis.WebSocket`
   */
  WebSocket?: WebSocketClass | undefined;
}

/** Pauses of a {@link WebSocketClient}. */
export interface ReconnectOptions {
  /**
   * Milliseconds that the first pause is at most.
   * @defaultValue 500
   */
  minMs?: number | undefined;
  /**
   * Milliseconds that any pause is at most.
   * @defaultValue 30,000
   */
  maxMs?: number | undefined;
}

/** Any class with the interface of browsers' `WebSocket`. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;

/** The part of a `WebSocket` that the client uses. */
export interface WebSocketLike {
  /** Set to `'arraybuffer'`. */
  binaryType: string;
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** The subprotocol that the server chose. */
  readonly protocol: string;
  /** 1 while it is open. */
  readonly readyState: number;
  /** Called when it is open. */
  // biome-ignore lint/suspicious/noExplicitAny: the events of browsers, Node and npm's ws are types of their own
  onopen: any;
  /** Called with each frame. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onmessage: any;
  /** Called when it has ended. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onclose: any;
  /** Called when it fails. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onerror: any;
  /** Sends a text or binary frame. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  send(data: any): void;
  /** Begins the end. */
  close(code?: number): void;
}

/**
 * - `connecting`: on its way
 * - `open`: the server has greeted
 * - `waiting`: pauses before it connects again, or for the network
 * - `closed`: by {@link CoreClient.close}, or because the server said to stay away (`error`)
 */
export type ClientStatus = 'connecting' | 'open' | 'waiting' | 'closed';

/** Events of a {@link WebSocketClient}. */
export interface ClientEvents {
  /** A message: once, and in the order of its topic. */
  message: ClientMessage;
  /** Messages of a topic are missing, or may be, between the last one that was handed on and the next. */
  missed: ClientMissed;
  /** The status is another one. */
  status: ClientStatus;
  /** Something failed. The client goes on unless its status is `closed`. */
  error: ClientError;
  /** The client is in a room that it was not in. */
  joined: ClientRoom;
  /** The client is no longer in a room. */
  left: ClientRoom;
}

/** A room that the client joined or left. */
export interface ClientRoom {
  /** Its name. */
  room: string;
}

/** A message to this client. */
export interface ClientMessage<Data = unknown> {
  /** The JSON value; a `Uint8Array` of a binary message; the string of a text that is no JSON. */
  data: Data;
  /** That text, if it is no JSON. */
  text?: string;
  /** `'user'`, or `'room:NAME'`; none if the message is for this connection alone. */
  topic: string | undefined;
  /** The room's name. */
  room: string | undefined;
  /** Its place in the topic, if that has a history. */
  position: string | undefined;
  /** True if it came while the client was away. */
  replayed: boolean;
}

/** Messages that are missing. */
export interface ClientMissed {
  /** `'user'`, or `'room:NAME'`. */
  topic: string;
  /** The room's name. */
  room: string | undefined;
  /** Why they are missing. */
  reason: ClientMissedReason;
}

/** Those of docs/protocol.md, and `'overflow'`: too many messages came while those from before were on their way. */
export type ClientMissedReason =
  | 'failover'
  | 'emptied'
  | 'trimmed'
  | 'unreadable'
  | 'no-history'
  | 'no-position'
  | 'gap'
  | 'overflow';

/** An error of the client (`ERR_CLOSED`, `ERR_PROTOCOL_UNSUPPORTED`, `ERR_TOKEN`, …), or that the server tells. */
export interface ClientError extends Error {
  /** Identifies the error. */
  code: string;
  /** Close code of the server, with `ERR_CLOSED`. */
  closeCode?: number;
  /** Reason of the server, with `ERR_CLOSED`. */
  reason?: string;
  /** The error of `token`, `WebSocket` or `JSON.stringify`. */
  cause?: unknown;
}

/** Advice after a close code: connect again, do so with a fresh token, or stay away. */
export function closeAdvice(code: number): 'reconnect' | 'refresh' | 'stop';
