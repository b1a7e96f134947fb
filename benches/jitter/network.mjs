// The network of one client: away for a while, now and then.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Network {
  #server;
  #sockets = new Set();
  #isAway = false;
  losses = 0;

  constructor(port) {
    this.#server = createServer((client) => {
      client.on('error', () => {});
      if (this.#isAway) return client.destroy();
      const upstream = connect(port, '127.0.0.1');
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ]) {
        this.#sockets.add(socket);
        socket.setNoDelay(true);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
  }

  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** What is on its way is lost, and nothing connects. */
  leave() {
    this.losses += 1;
    this.#isAway = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  comeBack() {
    this.#isAway = false;
  }

  close() {
    this.leave();
    this.#server.close();
  }
}
