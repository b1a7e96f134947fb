// A stand-in for a server of version 0.1: it listens where those did, and says nothing of what it can read.
import { once } from 'node:events';
import net from 'node:net';

/** A few users' messages are enough to look at. */
const CHANNELS = ['actory:control', ...Array.from({ length: 20 }, (_, user) => `actory:user:${user}`)];
/** A message of a user, up to its first byte. */
const MESSAGE = /\$7\r\nmessage\r\n\$\d+\r\nactory:user:\d+\r\n\$\d+\r\n(.)/g;
/** The kinds that version 0.1 knows. */
const KINDS = 'tbx';

/** See the module. */
export class Newcomer {
  #socket;
  #heard = '';

  constructor(path) {
    this.#socket = net.connect(path).setEncoding('latin1');
    this.#socket.on('data', (text) => {
      this.#heard += text;
    });
  }

  /** Resolves when it listens to everything. */
  static async come(redis) {
    const newcomer = new Newcomer(redis.path);
    newcomer.#socket.write(`SUBSCRIBE ${CHANNELS.join(' ')}\r\n`);
    while (!newcomer.#heard.includes(`:${CHANNELS.length}\r\n`)) await once(newcomer.#socket, 'data');
    return newcomer;
  }

  /** Answers how many messages it got, and how many of them it could not read. */
  async leave() {
    this.#socket.destroy();
    await once(this.#socket, 'close');
    const kinds = Array.from(this.#heard.matchAll(MESSAGE), ([, kind]) => kind);
    return { read: kinds.length, unreadable: kinds.filter((kind) => !KINDS.includes(kind)).length };
  }
}
