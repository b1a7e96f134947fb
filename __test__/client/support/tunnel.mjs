import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * A network in between: `cutAfter()` says of each connection after how many bytes of the server's it breaks, `portOf()` which server
 * it leads to.
 */
export class Tunnel {
  #server;
  #sockets = new Set();
  cuts = 0;

  constructor(portOf, cutAfter = () => Number.POSITIVE_INFINITY) {
    this.#server = createServer((client) => {
      const upstream = connect(portOf(), '127.0.0.1');
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket
          .on('error', () => {})
          .on('close', () => {
            this.#sockets.delete(socket);
            client.destroy();
            upstream.destroy();
          });
      }
      client.pipe(upstream);
      let left = cutAfter();
      upstream.on('data', (bytes) => {
        const some = bytes.subarray(0, left);
        left -= some.length;
        client.write(some, () => {
          if (left > 0) return;
          this.cuts += 1;
          client.destroySoon();
        });
        if (left === 0) upstream.removeAllListeners('data').pause();
      });
    });
  }

  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `ws://127.0.0.1:${this.#server.address().port}/`;
    return this;
  }

  /** Breaks all connections. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
