// The plan of connections and messages: all processes of the run work it out from the same few numbers.

/** Users that share a room. */
const USERS_PER_ROOM = 10;

/** The sources of streams of numbered messages: each server's own calls, and the relay of what a client says. */
const SOURCES = ['one', 'two', 'relay'];
const RELAY = 2;

/** Two connections per user: mostly one on each server, for every fifth user both on one. */
export class Plan {
  constructor(connections) {
    this.users = Math.floor(connections / 2);
    this.rooms = Math.ceil(this.users / USERS_PER_ROOM);
    /** Targets are numbered: the users, then the rooms, then everyone. */
    this.targets = this.users + this.rooms + 1;
    /** Streams of messages, each numbered from 1: one for each source and target. */
    this.streams = SOURCES.length * this.targets;
    this.devices = [];
    for (let user = 0; user < this.users; user += 1) {
      const first = user % 2;
      const second = user % 5 === 0 ? first : 1 - first;
      for (const server of [first, second]) this.devices.push({ user, room: this.roomOf(user), server });
    }
  }

  roomOf(user) {
    return user % this.rooms;
  }

  /** Of every other room less is kept than of the rest, if anything is. */
  isSmall(target) {
    return this.isRoom(target) && target % 2 === 1;
  }

  isRoom(target) {
    return target >= this.users && target < this.targets - 1;
  }

  /** A room's name, by its target. */
  roomName(target) {
    return this.isSmall(target) ? `small:${target}` : `large:${target}`;
  }

  /** The target whose room has this name. */
  roomTarget(name) {
    return Number(name.slice(name.indexOf(':') + 1));
  }

  target(stream) {
    return stream % this.targets;
  }

  stream(source, target) {
    return source * this.targets + target;
  }

  /** Messages of a user that its first device says. */
  relayed(user) {
    return this.stream(RELAY, user);
  }

  isRelayed(stream) {
    return stream >= RELAY * this.targets;
  }

  /** The device whose messages a relayed stream is. */
  sender(stream) {
    return 2 * (stream % this.targets);
  }

  /** The server that publishes the messages of a stream. */
  publisher(stream) {
    return this.isRelayed(stream)
      ? this.devices[this.sender(stream)].server
      : Math.floor(stream / this.targets);
  }

  /** Streams that a device gets. */
  streamsOf({ user, room }) {
    const targets = [user, this.users + room, this.targets - 1];
    const sent = [0, 1].flatMap((source) => targets.map((target) => this.stream(source, target)));
    return [...sent, this.relayed(user)];
  }
}
