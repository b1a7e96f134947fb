import { EventEmitter } from 'node:events';
import { RedisPubSub } from '@actory/websocket';

const CHANNEL = 'demo:servers';

/** A server says so often who is on it, changed or not. */
const PULSE_MS = 1000;

/** A server that has said nothing for so long is gone, or out of reach. One whose thread is blocked for 2 s is not. */
const GONE_MS = 3500;

/**
 * The news among the servers of the demo: who is on them, and what was said. Messages between clients need none
 * of it: they go through the manager, in Rust.
 *
 * Events: `members` (somebody came or went elsewhere), `missed` (room, messages: what was said elsewhere while it could
 * not be heard here).
 */
export class Peers extends EventEmitter {
  /** This server's name. */
  server;
  #history;
  #pubsub = new RedisPubSub();
  #members = [];
  /** Server -> { members, at }: what each of the others said last. */
  #others = new Map();
  #pulse;

  constructor(server, history) {
    super();
    this.server = server;
    this.#history = history;
    this.#pubsub.on('error', (error) => console.error(error));
    // A link that was lost is back: both sides may have missed something.
    this.#pubsub.on('broker', ({ gapUntil }) => gapUntil && this.#exchange(true));
    this.#pubsub
      .subscribe(CHANNEL, (message) => this.#hear(message))
      .then(() => this.#exchange(true), nothing);
    this.#pulse = setInterval(() => this.#beat(), PULSE_MS);
  }

  /** Names of the servers that are heard of, with those who are on them. */
  get servers() {
    const all = new Map([[this.server, this.#members]]);
    for (const [server, { members }] of this.#others) all.set(server, members);
    return new Map([...all].sort(([a], [b]) => a.localeCompare(b)));
  }

  /** Tells the others who is on this server now. */
  tell(members) {
    this.#members = members;
    this.#publish({ type: 'members', members });
  }

  /** Tells the others what was said in a room, for their memory. */
  said(room, message) {
    this.#publish({ type: 'said', room, message });
  }

  close() {
    clearInterval(this.#pulse);
    return this.#pubsub.close();
  }

  #beat() {
    this.tell(this.#members);
    const sizeBefore = this.#others.size;
    for (const [server, { at }] of this.#others) {
      if (at < performance.now() - GONE_MS) this.#others.delete(server);
    }
    if (this.#others.size !== sizeBefore) this.emit('members');
  }

  /** Tells the others all that is known here, and may ask them for the same. */
  #exchange(answer) {
    this.tell(this.#members);
    this.#publish({ type: 'history', rooms: this.#history, answer });
  }

  #hear({ type, server, members, room, message, rooms, answer }) {
    if (server === this.server) return;
    if (type === 'members') {
      const before = this.#others.get(server)?.members;
      this.#others.set(server, { members, at: performance.now() });
      if (JSON.stringify(before) !== JSON.stringify(members)) this.emit('members');
    } else if (type === 'said') {
      this.#history.add(room, [message]);
    } else if (type === 'history') {
      for (const [name, messages] of Object.entries(rooms)) {
        const missed = this.#history.add(name, messages);
        if (missed.length > 0) this.emit('missed', name, missed);
      }
      if (answer) this.#exchange(false);
    }
  }

  /** While Redis is away nobody hears it: the next pulse, or the exchange once it is back, makes up for that. */
  #publish(message) {
    this.#pubsub.publish(CHANNEL, { ...message, server: this.server }).catch(nothing);
  }
}

const nothing = () => {};
