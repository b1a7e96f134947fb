// With the WebSocket of Node itself: prints what it gets, comes back once, and ends by itself.
import { WebSocketClient } from '@actory/websocket/client';

const client = new WebSocketClient(process.argv[2], {
  token: 'abc',
  reconnect: { minMs: 1, maxMs: 5 },
  silenceMs: 100_000,
});
client.on('error', (error) => console.log(error.code));
client.on('missed', ({ reason }) => console.log(reason));
client.on('message', ({ data, replayed }) => {
  console.log(data instanceof Uint8Array ? [...data].join() : data, replayed);
  client.send(Uint8Array.of(1));
  if (data === 'end') client.close();
});
