// A network between a server and its Redis that can be made to fail.
import { once } from 'node:events';
import net from 'node:net';

/** Forwards connections to a port. What it can do to them no closing tells: it looks alive and delivers nothing. */
export class Tap {
  #port;
  #server = net.createServer((socket) => this.#accept(socket));
  #pairs = new Set();
  /** Directions that are held, of all connections. */
  #held = new Set();

  constructor(port) {
    this.#port = port;
  }

  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `redis://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  /** Connections yet to come go to another port. */
  aim(port) {
    this.#port = port;
  }

  #accept(inside) {
    const outside = net.connect(this.#port, '127.0.0.1');
    const pair = { toRedis: inside, toServer: outside, lost: false };
    this.#pairs.add(pair);
    const end = () => {
      // Of a connection that is lost, neither side ever hears of the other again.
      if (pair.lost) return;
      this.#pairs.delete(pair);
      inside.destroy();
      outside.destroy();
    };
    for (const [from, to] of [
      [inside, outside],
      [outside, inside],
    ]) {
      from.setNoDelay(true);
      from.on('data', (bytes) => {
        if (!to.write(bytes)) from.pause();
      });
      to.on('drain', () => this.#flow(pair));
      from.on('close', end);
      from.on('error', end);
    }
    this.#flow(pair);
  }

  #flow(pair) {
    for (const direction of ['toRedis', 'toServer']) {
      if (pair.lost || this.#held.has(direction)) pair[direction].pause();
      else pair[direction].resume();
    }
  }

  /** Holds back what goes `'toRedis'` or `'toServer'`, of connections yet to come too. */
  hold(directions) {
    for (const direction of directions) this.#held.add(direction);
    for (const pair of this.#pairs) this.#flow(pair);
  }

  /** Lets everything through again, what was held first. */
  release() {
    this.#held.clear();
    for (const pair of this.#pairs) this.#flow(pair);
  }

  /** Forgets the connections that there are, as a router does that was restarted; new ones work. */
  forget() {
    for (const pair of this.#pairs) {
      pair.lost = true;
      this.#flow(pair);
    }
  }

  /** Resets the connections that there are. */
  cut() {
    for (const pair of this.#pairs) {
      if (!pair.lost) pair.toRedis.resetAndDestroy();
    }
  }

  close() {
    for (const pair of this.#pairs) {
      pair.lost = false;
      pair.toRedis.destroy();
      pair.toServer.destroy();
    }
    this.#server.close();
  }
}
