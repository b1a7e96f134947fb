// Clients by library. Each calls `take(number)`, and `tell(reason)` of what is missing; it is open once `opened` resolves.
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';
import { WebSocketClient } from '../../client/index.mjs';

/** A page without a library connects again after a random pause that grows. */
function plain(path) {
  return (url, take) => {
    let failures = 0;
    let socket;
    let isClosed = false;
    let open;
    const opened = new Promise((resolve) => {
      open = resolve;
    });
    const connect = () => {
      if (isClosed) return;
      socket = new WebSocket(new URL(path, url));
      socket.on('open', () => {
        failures = 0;
        open();
      });
      socket.on('message', (data) => take(JSON.parse(data)));
      socket.on('error', () => {});
      socket.on('close', () => setTimeout(connect, Math.random() * Math.min(5_000, 500 * 2 ** failures++)));
    };
    connect();
    const close = () => {
      isClosed = true;
      socket.terminate();
    };
    return { opened, close };
  };
}

let users = 0;
const user = () => `/api/websocket?user=${++users}`;

export const CLIENTS = {
  actory(url, take, tell) {
    const client = new WebSocketClient(new URL(user(), url), { WebSocket, reconnect: { maxMs: 5_000 } });
    client.on('message', ({ data }) => take(data));
    client.on('missed', ({ reason }) => tell(reason));
    const opened = new Promise((resolve) => client.on('status', (status) => status === 'open' && resolve()));
    return { opened, close: () => client.close() };
  },
  'actory, plain client': (url, take) => plain(user())(url, take),
  ws: (url, take) => plain('/')(url, take),
  socketio(url, take) {
    const socket = io(url, {
      transports: ['websocket'],
      forceNew: true,
      reconnectionDelay: 250,
      reconnectionDelayMax: 5_000,
    });
    socket.on('number', take);
    return {
      opened: new Promise((resolve) => socket.once('connect', resolve)),
      close: () => socket.disconnect(),
    };
  },
};
