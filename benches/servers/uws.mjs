// uWebSockets.js, from an npm package that carries its binaries. A message enters JavaScript in every mode but 'idle'.
import uws from '@trufflesuite/uws-js-unofficial';
import { collect, mode, ready } from './options.mjs';

// The package falls back to `ws` where no binary loads; that would measure the wrong thing.
if (!uws.SSLApp) throw new Error('no uWebSockets.js binary for this Node');

const app = uws.App();
app.ws('/*', {
  compression: uws.DISABLED,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  maxPayloadLength: 1024 * 1024,
  // 'fair': who reads nothing is a slow consumer, as by this package's default.
  maxBackpressure: (mode === 'fair' ? 1 : 64) * 1024 * 1024,
  closeOnBackpressureLimit: mode === 'fair',
  open: (ws) => {
    if (mode === 'fanout') ws.subscribe('all');
  },
  message:
    mode === 'fanout'
      ? (_ws, message, binary) => void app.publish('all', message, binary)
      : (ws, message, binary) => void ws.send(message, binary),
});
app.get('/gc', (response) => {
  response.onAborted(() => {});
  collect().then(() => response.cork(() => response.end('ok')));
});
app.listen('127.0.0.1', 0, (socket) => ready(uws.us_socket_local_port(socket)));
