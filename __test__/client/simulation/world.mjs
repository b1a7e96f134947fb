import { History } from './history.mjs';
import { Judge } from './judge.mjs';

/**
 * Topics that the client is in from the start; that the application's listener joins or, in some runs, the client by itself; without a
 * history.
 */
const NAMES = ['user', 'room:early', 'room:late', 'room:bare'];
const AT_START = ['user', 'room:early', 'room:bare'];
const LATE = 'room:late';
const SIZE = 100;

/** A server, its Redis and the network, for one client, that do what a list of operations says. */
export class World {
  #topics = new Map();
  #histories = new Map(NAMES.map((name) => [name, new History(name, name !== 'room:bare')]));
  #setup;
  #judge;
  #connected = false;
  /** Rooms that the application wants the client in. */
  #wanted = new Set(AT_START);
  /** Topics of this connection, each with the live messages that its server has not handed on yet. */
  #live = new Map();
  #wire = [];
  #requests = [];
  #answers = [];
  #postponed = false;
  #away = false;
  #unreadable = false;
  #received = 0;
  #cutAfter = 0;
  #unplaced = new Set();

  constructor(Topics, setup) {
    this.#setup = setup;
    this.#judge = new Judge(() => this.#received * NAMES.length > setup.mostMessages, setup.wholePages);
    const out = {
      message: ({ topic, data, replayed }) => {
        this.#unplaced.delete(topic);
        this.#judge.message(topic, data, replayed);
        this.#interrupt();
      },
      missed: (topic, reason) => {
        this.#judge.missed(topic, reason, this.#histories.get(topic).count);
        this.#interrupt();
      },
      joined: (topic) => {
        this.#judge.join(topic, this.#joinedAt.get(topic));
        this.#interrupt();
      },
      left: (topic) => {
        this.#judge.leave(topic);
        this.#interrupt();
      },
      ask: (topics) => {
        if (!this.#connected) throw new Error('asked without a connection');
        for (const each of topics) this.#requests.push(JSON.parse(JSON.stringify(each)));
      },
      postpone: () => {
        this.#postponed = true;
      },
      returns: (topic) => this.#setup.byItself && topic === LATE,
    };
    this.#topics = new Topics(out, setup.mostMessages, setup.mostBytes);
  }

  #joinedAt = new Map();

  /** A listener may end the connection. */
  #interrupt() {
    if (this.#cutAfter > 0 && --this.#cutAfter === 0) this.cut();
  }

  // The faults and the traffic. Each takes two numbers, and makes of them what it needs.

  append(a, b) {
    for (let i = 0; i <= b % 3; i += 1) {
      const name = NAMES[a % NAMES.length];
      const { number, position } = this.#histories.get(name).append();
      this.#live.get(name)?.queue.push({ type: 'message', topic: name, position, data: number });
    }
  }

  trim(a, b) {
    this.#kept(a).trim(b % 4);
  }

  expire(a) {
    this.#kept(a).trim(Number.POSITIVE_INFINITY);
  }

  empty(a) {
    const history = this.#kept(a);
    if (!this.#changesHands(history)) return;
    history.empty();
    this.#mark(history.name, 'emptied', undefined);
  }

  failOver(a, b) {
    const history = this.#kept(a);
    if (!this.#changesHands(history)) return;
    history.failOver(b % 3);
    this.#mark(history.name, 'failover', history.position);
  }

  /** The server itself loses some. */
  gap(a, b) {
    if (a % 4 === 3) {
      const bare = this.#live.get('room:bare');
      if (!bare) return;
      bare.queue = [{ type: 'missed', reason: 'gap' }];
      return;
    }
    const name = NAMES[a % 4];
    const queue = this.#live.get(name)?.queue;
    if (!queue || queue.some((each) => each.type !== 'message')) return;
    const lost = queue.splice(0, (b % 3) + 1);
    if (lost.length === 0) return;
    queue.unshift({ type: 'missed', topic: name, reason: 'trimmed', position: lost.at(-1).position });
  }

  awayOrBack() {
    this.#away = !this.#away;
  }

  readableOrNot() {
    this.#unreadable = !this.#unreadable;
  }

  connect(a, b) {
    if (this.#connected) return;
    this.#connected = true;
    this.#received = 0;
    const topics = [...this.#wanted].filter((name) => name !== 'room:late');
    this.#wire.push({ type: 'hello', userId: 'u', topics: topics.map((name) => this.#join(name, a, b)) });
  }

  cut() {
    if (!this.#connected) return;
    this.#connected = false;
    this.#live.clear();
    this.#wire = [];
    this.#requests = [];
    this.#answers = [];
    this.#postponed = false;
    this.#topics.cut();
  }

  cutInListener(a) {
    this.#cutAfter = (a % 5) + 1;
  }

  joinOrLeave(a, b) {
    const name = a % 3 === 0 ? 'room:early' : 'room:late';
    if (!this.#wanted.delete(name)) {
      this.#wanted.add(name);
      if (this.#connected) this.#wire.push({ type: 'joined', ...this.#join(name, a, b) });
    } else if (this.#live.delete(name)) this.#wire.push({ type: 'left', topic: name });
  }

  /** The server hands live messages of a topic to the socket. */
  flow(a, b) {
    const queue = this.#live.get(NAMES[a % NAMES.length])?.queue;
    if (queue) this.#wire.push(...queue.splice(0, (b % 4) + 1));
  }

  /** The server deals with one topic of a `resume`: it reads, and then has the socket take the answer bit by bit. */
  serve(a, b) {
    if (this.#answers.length > 0) {
      this.#wire.push(...this.#answers.splice(0, (b % 3) + 1));
      return;
    }
    const request = this.#requests.shift();
    if (request) this.#resume(request, a, b);
    else if (this.#connected && this.#setup.byItself && !this.#live.has(LATE)) this.#decide(a, b);
  }

  /** The server deals with a client that wants to be in a room again. */
  #decide(a, b) {
    if (this.#wanted.has(LATE)) this.#wire.push({ type: 'joined', ...this.#join(LATE, a, b) });
    else if (!this.#wire.some(({ topic }) => topic === LATE)) this.#topics.forget(LATE);
  }

  deliver(_, b) {
    for (let i = 0; i <= b % 6 && this.#wire.length > 0; i += 1) {
      const message = this.#wire.shift();
      this.#received += 1;
      this.#judge.frame += 1;
      if (message.type === 'missed') {
        for (const name of message.topic ? [message.topic] : NAMES) this.#judge.tell(name, message.reason);
      } else if (message.type === 'resumed' && !message.recovered) {
        this.#judge.tell(message.topic, message.reason);
      }
      this.#topics.receive(JSON.parse(JSON.stringify(message)), SIZE);
    }
  }

  again() {
    if (!this.#postponed) return;
    this.#postponed = false;
    this.#topics.again();
  }

  /** All that is on its way arrives, and nothing is missing. */
  settle() {
    this.#cutAfter = 0;
    this.#away = false;
    this.connect(0, 0);
    if (this.#wanted.has('room:late') && !this.#live.has('room:late')) {
      this.#wire.push({ type: 'joined', ...this.#join('room:late', 0, 0) });
    }
    for (
      let rounds = 0;
      this.#wire.length + this.#requests.length + this.#answers.length > 0 || this.#postponed;
      rounds += 1
    ) {
      if (rounds > 10_000) throw new Error('the client asks for ever');
      this.again();
      this.serve(1, 3);
      this.deliver(0, 5);
    }
    for (const [name, { queue }] of this.#live) {
      this.#wire.push(...queue.splice(0));
      while (this.#wire.length > 0) this.deliver(0, 5);
      this.#judge.end(name, this.#histories.get(name).count);
    }
  }

  /**
   * Where a client was told no position, or `null`, which names no epoch and no term, nobody can say which of two terms is the earlier
   * one. Nor if there are three of them in one connection. History does not change hands there.
   */
  #changesHands({ name, position }) {
    const live = this.#live.get(name);
    if (live?.hasChanged) return false;
    const changes = position !== null && !this.#unplaced.has(name) && live?.isTold !== false;
    if (changes && live) live.hasChanged = true;
    return changes;
  }

  #kept(a) {
    return this.#histories.get(NAMES[a % 3]);
  }

  #mark(name, reason, position) {
    this.#live.get(name)?.queue.push({ type: 'missed', topic: name, reason, position });
  }

  /** The server lags: some messages before the position are yet to come. */
  #join(name, a, b) {
    const history = this.#histories.get(name);
    const isTold = history.kept && b % 5 !== 0;
    const entries = isTold ? history.last(a % 3) : [];
    const queue = entries.map(({ position, number }) => ({
      type: 'message',
      topic: name,
      position,
      data: number,
    }));
    this.#live.set(name, { queue, joined: history.position, isTold });
    // Not known to the client before: from here on nothing may be missing.
    this.#joinedAt.set(name, history.count);
    if (history.position === null) this.#unplaced.add(name);
    return isTold ? { topic: name, position: history.position } : { topic: name };
  }

  #resume({ topic, position }, a, b) {
    const answer = (more) => this.#answers.push({ type: 'resumed', topic, ...more });
    const history = this.#histories.get(topic);
    if (
      this.#wanted.has(topic) &&
      !this.#live.has(topic) &&
      !(this.#setup.byItself && topic === LATE) &&
      a % 4 !== 0
    ) {
      this.#wire.push({ type: 'joined', ...this.#join(topic, a, b) });
    }
    const live = this.#live.get(topic);
    if (!live) return answer({ recovered: false, reason: 'not-member' });
    if (!history.kept) return answer({ recovered: false, reason: 'no-history' });
    if (position === undefined && !this.#away) {
      return answer({ recovered: false, reason: 'no-position', position: live.joined });
    }
    if (this.#unreadable && !this.#away) return answer({ recovered: false, reason: 'unreadable' });
    const { messages, answer: result } =
      position === undefined ? { messages: [] } : history.read(position, (b % 3) + 1, this.#setup.wholePages);
    for (const { position: at, number } of messages) {
      this.#answers.push({ type: 'message', topic, position: at, replayed: true, data: number });
    }
    answer(this.#away ? { recovered: false, reason: 'unavailable' } : result);
  }
}
