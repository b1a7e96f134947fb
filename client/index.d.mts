/**
 * A client of a `WebSocketManager` that comes back by itself and gets what it missed meanwhile, in order and once, or says what it
 * can't get (`missed`). It speaks `actory.v1` (docs/protocol.md). For browsers and Node from 22 on.
 *
 * It connects at once. Positions of topics are kept as long as the object is, also through {@link WebSocketClient.close}.
 *
 * @example
 * ```js
 * const client = new WebSocketClient('wss://example.com/api/websocket', { token: () => fetchToken() });
 * client.on('message', ({ data, room }) => show(room, data));
 * client.on('missed', ({ topic, reason }) => reload(topic, reason));
 * client.on('status', (status) => (badge.textContent = status));
 * ```
 */
export class WebSocketClient {
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
  /** The rooms that the client is in; while it is away, those that it was in. */
  readonly rooms: string[];
  /** Milliseconds that the server's clock was ahead of this one when the connection began, plus the time that took to arrive. */
  readonly clockOffset: number;

  /**
   * Calls `listener` at each such event, in the order of events. One that throws keeps nobody else from it: the error goes to
   * `reportError`, where there is none, as in Node, to the uncaught exceptions.
   *
   * @returns takes the listener off
   */
  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void;

  /**
   * Sends to the application, or keeps it until the connection is open. Nothing tells whether a message arrived that was sent
   * just before the connection broke.
   *
   * @param data - a value that `JSON.stringify` has a text for, or bytes, which go as a binary frame
   * @throws Error `ERR_QUEUE_FULL` if more than `queueBytes` would wait; what waits already stays
   * @throws Error `ERR_NOT_SERIALIZABLE` if `JSON.stringify` throws or makes nothing
   * @throws Error `ERR_CLOSED` while the status is `closed`
   */
  send(data: unknown): void;

  /** Ends the connection, forgets what waits to be sent, and stays away until {@link WebSocketClient.reconnect}. */
  close(): void;

  /** Connects anew without a pause, whatever the status. */
  reconnect(): void;
}

/** Options of a {@link WebSocketClient}. */
export interface WebSocketClientOptions {
  /**
   * The token, or a function that is asked for it before each connection. If that throws or rejects, `error` tells `ERR_TOKEN`, and
   * the client asks again after a pause. Without a function, the client gives up when the server wants a fresh token.
   * @defaultValue none: cookies, or nobody
   */
  token?: string | (() => string | Promise<string>) | undefined;
  /** Pauses before it connects again: a random part of `minMs`, doubled with each failure up to `maxMs`. */
  reconnect?: ReconnectOptions | undefined;
  /**
   * Bytes that may wait to be sent.
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
 * - `closed`: by {@link WebSocketClient.close}, or because the server said to stay away (`error`)
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
