/** Rooms that are always there. Others appear when someone joins them and go with the last one who leaves. */
const ROOMS = ['lobby', 'engineering', 'random'];

const MAX_TEXT_CHARS = 2000;
const MAX_ROOM_CHARS = 32;

/**
 * The server's messages go out in binary frames; clients' messages to each other stay in text frames. The relay
 * passes on text alone, so no client can pass itself off as the server.
 */
export const fromServer = (message) => Buffer.from(JSON.stringify(message));

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * The part of the chat that takes JavaScript: who is where, and what was said before you came. The messages do not
 * depend on it. With `relay: 'rooms'` they go from client to client inside Rust, word for word; so what one says
 * about its sender is the sender's claim, and is checked here before it becomes history.
 *
 * Each server tells its own connections, for it knows of the others through its `peers`.
 */
export class Chat {
  #manager;
  #history;
  #peers;
  /** Connection -> its room. A connection is in one at a time. */
  #places = new Map();
  /** Rooms whose members changed in this turn. */
  #changed = new Set();

  /** `peers` where there are several servers. */
  constructor(manager, history, peers) {
    this.#manager = manager;
    this.#history = history;
    this.#peers = peers;
    manager.on('connection', (connection) => this.#arrive(connection));
    manager.on('message', (connection, data) => this.#hear(connection, data));
    manager.on('disconnect', (connection) => this.#leave(connection));
    peers?.on('members', () => this.#announce(...this.#places.values()));
    peers?.on('missed', (room, messages) => this.#tell(room, { type: 'missed', messages }));
  }

  #arrive(connection) {
    const { state, since } = this.#manager.stats().broker;
    connection.send(
      fromServer({
        type: 'welcome',
        id: connection.id,
        userId: connection.userId,
        server: this.#peers?.server,
        broker: { state, since },
      }),
    );
    this.#join(connection, ROOMS[0]);
  }

  /** Listeners see every message, those that were relayed as well. */
  #hear(connection, data) {
    const message = typeof data === 'string' ? parse(data) : null;
    if (message?.type === 'join' && typeof message.room === 'string') {
      const room = message.room.trim().toLowerCase().slice(0, MAX_ROOM_CHARS);
      if (room !== '' && room !== this.#places.get(connection)) {
        this.#leave(connection);
        this.#join(connection, room);
      }
    } else if (message?.type === 'chat' && message.from === connection.id) {
      this.#remember(connection, message);
    }
  }

  #join(connection, room) {
    connection.join(room);
    this.#places.set(connection, room);
    connection.send(fromServer({ type: 'room', room, history: this.#history.of(room) }));
    this.#announce(room);
  }

  #leave(connection) {
    const room = this.#places.get(connection);
    if (room === undefined) return;
    connection.leave(room);
    this.#places.delete(connection);
    this.#announce(room);
  }

  #remember(connection, { id, text }) {
    const room = this.#places.get(connection);
    if (room === undefined || typeof text !== 'string' || !String(id).startsWith(connection.id)) return;
    const message = {
      type: 'chat',
      id,
      from: connection.id,
      userId: connection.userId,
      name: connection.data.name,
      text: text.slice(0, MAX_TEXT_CHARS),
      at: Date.now(),
    };
    this.#history.add(room, [message]);
    this.#peers?.said(room, message);
  }

  /** To the connections of this server in a room. */
  #tell(room, message) {
    const frame = fromServer(message);
    for (const [connection, place] of this.#places) if (place === room) connection.send(frame);
  }

  /** Tells who is here once per turn, however many came and went in it. */
  #announce(...rooms) {
    if (this.#changed.size === 0) setImmediate(() => this.#flush());
    for (const room of rooms) this.#changed.add(room);
  }

  #flush() {
    const members = [...this.#places].map(([{ id, userId, data }, room]) => {
      return { id, userId, name: data.name, room };
    });
    this.#peers?.tell(members);
    const servers = this.#peers?.servers ?? new Map([['', members]]);

    const rooms = new Map(ROOMS.map((room) => [room, new Map()]));
    for (const [server, those] of servers) {
      for (const member of those) {
        if (!rooms.has(member.room)) rooms.set(member.room, new Map());
        addPerson(rooms.get(member.room), member, server);
      }
    }
    this.#history.keep(rooms);

    for (const room of this.#changed) {
      const people = [...(rooms.get(room)?.values() ?? [])].sort((a, b) => a.name.localeCompare(b.name));
      this.#tell(room, { type: 'people', room, people });
    }
    this.#changed.clear();
    this.#manager.connections.broadcast(
      fromServer({
        type: 'rooms',
        rooms: [...rooms].map(([room, people]) => ({ room, people: people.size })),
        servers: this.#peers && [...servers].map(([server, { length }]) => ({ server, connections: length })),
      }),
    );
  }
}

/** A person once, however many tabs they have open, and wherever. */
function addPerson(people, { id, userId, name }, server) {
  const person = people.get(userId) ?? { userId, name, connections: [], servers: [] };
  person.connections.push(id);
  if (server !== '' && !person.servers.includes(server)) person.servers.push(server);
  people.set(userId, person);
}
