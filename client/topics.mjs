const MOST_MESSAGES = 10_000;
const MOST_BYTES = 8 * 1024 * 1024;
const MOST_ASKED = 1_000;
// As many terms as the server knows of a topic.
const MOST_GENERATIONS = 8;

const ROOM = 'room:';

export const topicOf = (room) => ROOM + room;

export const roomOf = (topic) => (String(topic).startsWith(ROOM) ? topic.slice(ROOM.length) : undefined);

// A generation is an epoch and a term: only within one is there an order.
function parse(position) {
  const dot = position.lastIndexOf('.');
  return [position.slice(0, dot), Number(position.slice(dot + 1))];
}

class Topic {
  position;
  // Messages wait until it is known what the connection before has missed.
  keeping = false;
  // A `resume` is under way.
  asked = false;
  // The server has said that the client joined, since it was asked.
  joined = true;
  // It was answered that nothing is known for now.
  postponed = false;
  // Replayed messages wait for `resumed`: it says whether some before them are missing.
  page = [];
  kept = [];
  // The last offset that was handed on, by generation; the oldest generation first.
  seen = new Map();
  generation;
  // Generations of this connection: that in which its live messages begin, if known, and that of the last one.
  expected;
  current;

  constructor(name, position) {
    this.name = name;
    this.position = position;
  }

  // Nothing was replayed that tells which generation is the newest: the one of this connection is, if it is new to the client.
  assume() {
    if (this.expected !== undefined && !this.seen.has(this.expected)) this.generation = this.expected;
  }

  note(generation, offset) {
    this.seen.delete(generation);
    this.seen.set(generation, offset);
    if (this.seen.size > MOST_GENERATIONS) this.seen.delete(this.seen.keys().next().value);
    this.generation = generation;
  }
}

// The client's topics, and the messages to hand on: `out` has message(message), missed(topic, reason),
// joined(topic), left(topic), ask(topics), postpone() and returns(topic): the client joins it again by itself. No timers and no sockets. Each of `out` may call cut().
export class Topics {
  #topics = new Map();
  #out;
  #mostMessages;
  #mostBytes;
  #count = 0;
  #bytes = 0;
  #connection = 0;
  #userId;

  constructor(out, mostMessages = MOST_MESSAGES, mostBytes = MOST_BYTES) {
    this.#out = out;
    this.#mostMessages = mostMessages;
    this.#mostBytes = mostBytes;
  }

  get names() {
    return [...this.#topics.keys()];
  }

  // The connection ended. Held messages will be replayed to the next one.
  cut() {
    this.#connection += 1;
    this.#count = 0;
    this.#bytes = 0;
    for (const topic of this.#topics.values()) {
      topic.keeping = true;
      topic.asked = false;
      topic.joined = false;
      topic.postponed = false;
      topic.page = [];
      topic.kept = [];
      topic.current = undefined;
      topic.expected = undefined;
    }
  }

  // Asks again for the topics of which nothing was known.
  again() {
    this.#ask([...this.#topics.values()].filter((topic) => topic.postponed));
  }

  receive(message, size) {
    const topic = this.#topics.get(message.topic);
    switch (message.type) {
      case 'hello':
        return this.#hello(message);
      case 'joined':
        return this.#ask(this.#join([message], true));
      case 'left':
        return this.#leave(topic);
      case 'resumed':
        return topic?.asked && this.#resumed(topic, message);
      case 'missed':
        if (message.topic === undefined) return this.#gap(message, size);
        break;
      case 'message':
        break;
      default:
        return;
    }
    if (message.replayed) {
      // Of a topic that was left, or that too much was kept of, they come too late.
      if (topic?.keeping && topic.asked) this.#hold(topic, topic.page, message, size);
    } else this.#place(topic, message, size);
  }

  #hello({ userId, anonymous, topics }) {
    const connection = this.#connection;
    // Positions of somebody else's are worth nothing.
    if (this.#userId !== undefined && userId !== this.#userId) {
      for (const topic of this.#topics.values()) if (!anonymous || topic.name === 'user') this.#leave(topic);
    }
    this.#userId = userId;
    const known = [...this.#topics.values()];
    const unknown = this.#join(topics);
    if (connection !== this.#connection) return;
    this.#ask([...known.filter(({ joined, name }) => joined || !this.#out.returns(name)), ...unknown]);
  }

  // Answers with those that are new and have no position: the server may not have known it yet. With `late`, also with those that the
  // client knew and has come back to.
  #join(messages, late) {
    const asked = [];
    const connection = this.#connection;
    for (const { topic: name, position } of messages) {
      const known = this.#topics.get(name);
      if (known) {
        known.joined = true;
        if (known.keeping && position) [known.expected] = parse(position);
        else if (known.position === undefined) known.position = position;
        if (late && known.keeping && !known.asked) asked.push(known);
        continue;
      }
      const topic = new Topic(name, position);
      this.#topics.set(name, topic);
      if (position === undefined) asked.push(topic);
      this.#out.joined(name);
      if (connection !== this.#connection) return [];
    }
    return asked;
  }

  forget(name) {
    this.#leave(this.#topics.get(name));
  }

  #leave(topic) {
    if (!topic) return;
    this.#topics.delete(topic.name);
    this.#release(topic.page);
    this.#release(topic.kept);
    this.#out.left(topic.name);
  }

  #ask(topics) {
    for (const topic of topics) {
      topic.asked = true;
      topic.postponed = false;
      if (topic.keeping && topic.position) {
        const [generation, offset] = parse(topic.position);
        topic.note(generation, Math.max(offset, topic.seen.get(generation) ?? 0));
      }
    }
    for (let from = 0; from < topics.length; from += MOST_ASKED) {
      const some = topics.slice(from, from + MOST_ASKED);
      this.#out.ask(some.map(({ name, position }) => ({ topic: name, position })));
    }
  }

  #resumed(topic, { position, more, recovered, reason }) {
    const connection = this.#connection;
    if (topic.keeping) topic.asked = false;
    if (reason === 'not-member') {
      // It may have been so before the client joined: asked once more, the server has to know.
      if (!topic.joined) return this.#leave(topic);
      topic.joined = false;
      return this.#ask([topic]);
    }
    const page = this.#release(topic.page);
    topic.page = [];
    if (reason === 'unavailable') {
      topic.postponed = topic.keeping || topic.position === undefined;
      if (topic.postponed) this.#out.postpone();
      return;
    }
    if (!topic.keeping) {
      // Another answer is to a question from before the client left and joined.
      if (reason === 'no-position' && topic.position === undefined) topic.position = position;
      return;
    }
    if (!recovered) this.#out.missed(topic.name, reason);
    if (!this.#handOn(topic, page, connection)) return;
    if (position !== undefined) topic.position = position;
    else if (reason === 'no-history') topic.position = undefined;
    // The newest generation that is known; messages of earlier ones come too late.
    if (position) [topic.generation] = parse(position);
    else topic.assume();
    if (more) return this.#ask([topic]);
    this.#goOn(topic, connection);
  }

  #goOn(topic, connection) {
    topic.keeping = false;
    const kept = this.#release(topic.kept);
    topic.kept = [];
    this.#handOn(topic, kept, connection);
  }

  // False if a listener has ended the connection: the rest will be replayed.
  #handOn(topic, held, connection) {
    for (const { message } of held) {
      if (connection !== this.#connection) return false;
      this.#take(topic, message);
    }
    return connection === this.#connection;
  }

  #hold(topic, list, message, size) {
    list.push({ message, size });
    this.#count += 1;
    this.#bytes += size;
    if (this.#count <= this.#mostMessages && this.#bytes <= this.#mostBytes) return;
    const connection = this.#connection;
    this.#release(topic.page);
    topic.page = [];
    topic.postponed = false;
    topic.assume();
    this.#out.missed(topic.name, 'overflow');
    if (connection === this.#connection) this.#goOn(topic, connection);
  }

  #release(held) {
    for (const { size } of held) {
      this.#count -= 1;
      this.#bytes -= size;
    }
    return held;
  }

  #gap(message, size) {
    const connection = this.#connection;
    for (const topic of [...this.#topics.values()]) {
      if (connection !== this.#connection) return;
      // The answer that such a topic waits for says the same.
      if (topic.keeping && topic.kept.length === 0) continue;
      if (topic.position === undefined) this.#place(topic, { ...message, topic: topic.name }, size);
    }
  }

  #place(topic, message, size) {
    if (topic?.keeping) this.#hold(topic, topic.kept, message, size);
    else this.#take(topic, message);
  }

  #take(topic, message) {
    const { type, position, reason } = message;
    if (type === 'missed') {
      // The messages may have been replayed meanwhile.
      if (topic && position !== undefined) {
        const [generation, offset] = parse(position);
        if (offset <= topic.seen.get(generation)) return;
        topic.position = position;
      }
      return this.#out.missed(message.topic, reason);
    }
    if (topic && position !== undefined && !this.#isNext(topic, message)) return;
    this.#out.message(message);
  }

  #isNext(topic, { position, replayed }) {
    const [generation, offset] = parse(position);
    const last = topic.seen.get(generation);
    if (generation !== topic.generation) {
      const before = topic.current;
      if (!replayed) topic.current = generation;
      // The server's live messages lag behind those that it replayed, which have a newer generation: a failover that was told
      // lies between. If they come from the newest one, they go on to a newer one still.
      const isKnown = last !== undefined || generation === topic.expected;
      if (!replayed && isKnown && before !== topic.generation) return false;
      topic.generation = generation;
    } else if (!replayed) topic.current = generation;
    if (offset <= last) return false;
    topic.note(generation, offset);
    topic.position = position;
    return true;
  }
}
