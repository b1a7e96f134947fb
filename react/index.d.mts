import type { ReactNode } from 'react';
import type {
  ClientError,
  ClientMessage,
  ClientMissed,
  ClientStatus,
  WebSocketClient,
  WebSocketClientOptions,
} from '../client/index.mjs';

/**
 * Gives the components in it a client: one of its own, or the application's.
 *
 * Its own one connects once the provider is mounted, never while rendering, so also not on a server. It is closed when the provider is
 * unmounted. It outlives the effects that StrictMode, fast refresh and Suspense end and run again.
 *
 * @example
 * ```tsx
 * <WebSocketProvider url="/api/websocket" token={() => fetchToken()}>
 *   <App />
 * </WebSocketProvider>
 * ```
 * @throws Error `ERR_INVALID_ARG` without `url` and `client`, and for anything else beside `client`; to the error boundary around it
 * also what the constructor of {@link WebSocketClient} throws, once it is mounted
 */
export function WebSocketProvider(props: WebSocketProviderProps): ReactNode;

/** Props of {@link WebSocketProvider}: either `url`, with the options of a client, or `client`. */
export type WebSocketProviderProps = OwnClientProps | GivenClientProps;

/** Props of a {@link WebSocketProvider} that makes a client of its own. All but `url`, `token` and `children` count when that is made. */
export interface OwnClientProps extends WebSocketClientOptions {
  /** As the constructor of {@link WebSocketClient} takes it; in a page it may be relative. Another one makes another client. */
  url: string | URL;
  /**
   * As in {@link WebSocketClientOptions}. Of functions the one of the last render is asked, and another one makes no other client.
   * Another string does, for it may be another user's: give a function for tokens that are renewed.
   * @defaultValue none: cookies, or nobody
   */
  token?: WebSocketClientOptions['token'];
  /** The application has the client made. */
  client?: undefined;
  /** Components that use the client. */
  children?: ReactNode;
}

/** Props of a {@link WebSocketProvider} that takes a client that the application made. */
export interface GivenClientProps {
  /** Whoever made it closes it: the provider never does. */
  client: WebSocketClient;
  /** `client` has one. */
  url?: undefined;
  /** Components that use the client. */
  children?: ReactNode;
}

/**
 * The client of the provider around this component, and its state. The component renders when that changes.
 *
 * @throws Error `ERR_NO_PROVIDER` if there is no provider
 */
export function useWebSocket(): WebSocketState;

/** Result of {@link useWebSocket}. */
export interface WebSocketState {
  /**
   * The same object in each render, until the provider has another url. Listeners may be added at any time. What needs the connection
   * works in effects and event handlers: a message that is sent before the connection is open waits for it. Before the provider is
   * mounted, so also on a server, that throws `ERR_NOT_MOUNTED`.
   *
   * A provider's own client has all methods and properties of its class, but is no instance of it.
   */
  client: WebSocketClient;
  /** State of the connection; `connecting` on a server and while a page is hydrated. */
  status: ClientStatus;
  /** The user that the server took the client for, from the first connection on. */
  userId: string | undefined;
}

/**
 * Hears the messages of a room that the application puts the client into, or that it joins with `join`: then it leaves with the last
 * component that wants to be in it.
 *
 * The callbacks of the last render are called. What comes before the component is mounted is not told: a component that reads the
 * state of a room should do so in an effect. An error of a callback goes where the client's go.
 *
 * @param room - its name; null or undefined: none
 * @throws Error `ERR_NO_PROVIDER` if there is no provider
 */
export function useRoom<Data = unknown>(
  room: string | null | undefined,
  options?: UseRoomOptions<Data>,
): RoomState;

/** Options of {@link useRoom}. */
export interface UseRoomOptions<Data = unknown> {
  /** Called with each message of the room: once, and in order. */
  onMessage?: ((message: ClientMessage<Data>) => void) | undefined;
  /** Called when messages of the room are missing: fetch its state anew. */
  onMissed?: ((missed: ClientMissed) => void) | undefined;
  /**
   * Joins the room, see {@link WebSocketClient.join}, and leaves it.
   * @defaultValue `false`
   */
  join?: boolean | undefined;
}

/** Result of {@link useRoom}. */
export interface RoomState {
  /** The client is in the room; while it is away, it was. False on a server. */
  joined: boolean;
  /** With `join`: why the client may not be in it, or could not be. */
  error: ClientError | undefined;
}

/**
 * Hears messages that are of no room: the user's, and those for this connection alone; or those of one topic. Callbacks as in
 * {@link useRoom}.
 *
 * @throws Error `ERR_NO_PROVIDER` if there is no provider
 */
export function useMessages<Data = unknown>(
  onMessage: (message: ClientMessage<Data>) => void,
  options?: UseMessagesOptions,
): void;

/** Options of {@link useMessages}. */
export interface UseMessagesOptions {
  /**
   * `'user'`, or `'room:NAME'`.
   * @defaultValue all messages that are of no room
   */
  topic?: string | undefined;
}

/**
 * Hears what messages are missing, of all topics, those of rooms included, or of one. Callbacks as in {@link useRoom}.
 *
 * @throws Error `ERR_NO_PROVIDER` if there is no provider
 */
export function useMissed(onMissed: (missed: ClientMissed) => void, options?: UseMissedOptions): void;

/** Options of {@link useMissed}. */
export interface UseMissedOptions {
  /**
   * `'user'`, or `'room:NAME'`.
   * @defaultValue all topics
   */
  topic?: string | undefined;
}

/**
 * A request to the application and its reply, one at a time: `send` aborts the one before, and so do `reset`, unmounting, and another
 * client. Nothing that was aborted changes the state.
 *
 * @throws Error `ERR_NO_PROVIDER` if there is no provider
 */
export function useRequest<Reply = unknown, Data = unknown>(
  options?: UseRequestOptions,
): RequestState<Reply, Data>;

/** Options of {@link useRequest}. */
export interface UseRequestOptions {
  /**
   * Milliseconds until a request is given up with `ERR_TIMEOUT`.
   * @defaultValue 10,000
   */
  timeoutMs?: number | undefined;
}

/** Result of {@link useRequest}. */
export interface RequestState<Reply = unknown, Data = unknown> {
  /** Makes a request, in an effect or an event handler. The same function as long as the client is the same. For a promise, call `client.request`. */
  send: (data: Data) => void;
  /** The last reply, also while the next request is pending, and after one that failed. */
  data: Reply | undefined;
  /** That of the last request, if it failed: as `client.request` rejects. */
  error: RequestFailure | undefined;
  /** A request waits for its reply. */
  isPending: boolean;
  /** Aborts what is pending, and forgets `data` and `error`. */
  reset: () => void;
}

/** Error of a request. */
export interface RequestFailure extends Error {
  /** Identifies the error; those of the client and the server have one. */
  code?: string;
}
