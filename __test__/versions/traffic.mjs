// Everything that servers and clients can send, sent from all of them at once, and who has to get it.
import assert from 'node:assert/strict';

/** Messages of each stream. */
const MESSAGES = 200;

/**
 * A sender's messages to one user, to one room or to everyone: they arrive in their order. Each second one is binary where that
 * can be.
 */
class Stream {
  constructor(name, send, { isBinary = false, isFor }) {
    this.name = name;
    this.isFor = isFor;
    this.#send = send;
    this.#isBinary = isBinary;
  }

  #send;
  #isBinary;

  /** Sends all of them without a pause; resolves with what became of them. */
  sendAll() {
    return Promise.all(Array.from({ length: MESSAGES }, (_, n) => this.send(n)));
  }

  send(n) {
    const text = JSON.stringify({ stream: this.name, n });
    return this.#send(this.#isBinary && n % 2 === 1 ? Buffer.from(text) : text);
  }
}

/** The messages that a client got, in their order, by the name of the stream. */
class Receiver {
  constructor(client, { user, room, server }) {
    Object.assign(this, { client, user, room, server });
  }

  /** Takes as many messages as there are in these streams, and answers with their numbers. */
  async take(streams, each) {
    const got = new Map(streams.map(({ name }) => [name, []]));
    for (let left = streams.length * each; left > 0; left -= 1) {
      const { stream, n } = JSON.parse(await this.client.next());
      assert.ok(got.has(stream), `${this.user} on ${this.server} got ${stream}, which is not for it`);
      got.get(stream).push(n);
    }
    return got;
  }
}

/**
 * Sends everything from everybody, on each of these servers, and checks that each message arrives once and in order at every
 * connection that it is for, and at no other. Answers with the deliveries of what was sent to users and rooms.
 *
 * @param servers by name
 */
export async function exchange(servers, { routing = 'user' } = {}) {
  const receivers = [];
  const streams = [];
  for (const [server, peer] of Object.entries(servers)) {
    for (const [user, room] of [
      ['ada', 'lobby'],
      ['bob', 'den'],
    ]) {
      const client = await peer.connect(`user=${user}&room=${room}`);
      receivers.push(new Receiver(client, { user, room, server }));
      // The relay, to all connections of the client's own user. Binary is never relayed.
      const relay = (data) => client.send(data);
      streams.push(new Stream(`relayed by ${user} of ${server}`, relay, { isFor: (to) => to.user === user }));
    }
    const sends = [
      ['sendToUser', 'ada', (to) => to.user === 'ada', routing === 'user'],
      ['sendToUser', 'bob', (to) => to.user === 'bob', routing === 'user'],
      ['sendToRoom', 'lobby', (to) => to.room === 'lobby', true],
      ['sendToRoom', 'den', (to) => to.room === 'den', true],
    ];
    for (const [task, to, isFor, isBinary] of sends) {
      const send = (data) => peer.do(task, to, data);
      streams.push(new Stream(`${task} ${to} of ${server}`, send, { isFor, isBinary }));
    }
    const all = { isFor: () => true, isBinary: true };
    streams.push(new Stream(`broadcast of ${server}`, (data) => peer.do('broadcast', data), all));
  }
  const taken = receivers.map(async (receiver) => {
    const mine = streams.filter((stream) => stream.isFor(receiver));
    const got = await receiver.take(mine, MESSAGES);
    for (const [name, numbers] of got) {
      assert.deepEqual(
        numbers,
        [...Array(MESSAGES).keys()],
        `${name} at ${receiver.user}, ${receiver.server}`,
      );
    }
  });
  const [deliveries] = await Promise.all([Promise.all(streams.map((stream) => stream.sendAll())), ...taken]);
  // A message that came twice would come before these.
  await Promise.all(streams.map((stream) => stream.send(-1)));
  for (const receiver of receivers) {
    const mine = streams.filter((stream) => stream.isFor(receiver));
    for (const [name, numbers] of await receiver.take(mine, 1)) {
      assert.deepEqual(numbers, [-1], `${name} at ${receiver.user}, ${receiver.server}`);
    }
  }
  const topics = /^sendTo/;
  return streams.flatMap(({ name }, at) => (topics.test(name) ? deliveries[at] : []));
}
