/** Rooms that are always there. Others appear when someone joins them and go with the last one who leaves. */
const ROOMS = ['lobby', 'engineering', 'random'];

/** Messages of a room that whoever joins gets to see. */
const HISTORY = 50;
const MAX_TEXT_CHARS = 2000;
const MAX_ROOM_CHARS = 32;

/**
 * What the server says goes out in binary frames; what clients say to each other stays in text frames. The relay
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
 */
export class Chat {
  #manager;
  /** Connection -> its room. A connection is in one at a time. */
  #places = new Map();
  /** Room -> messages, oldest first. */
  #history = new Map(ROOMS.map((room) => [room, []]));
  /** Rooms whose members changed in this turn. */
  #changed = new Set();

  constructor(manager) {
    this.#manager = manager;
    manager.on('connection', (connection) => this.#arrive(connection));
    manager.on('message', (connection, data) => this.#hear(connection, data));
    manager.on('disconnect', (connection) => this.#leave(connection));
  }

  #arrive(connection) {
    connection.send(fromServer({ type: 'welcome', id: connection.id, userId: connection.userId }));
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
    if (!this.#history.has(room)) this.#history.set(room, []);
    connection.send(fromServer({ type: 'room', room, history: this.#history.get(room) }));
    this.#announce(room);
  }

  #leave(connection) {
    const room = this.#places.get(connection);
    if (room === undefined) return;
    connection.leave(room);
    this.#places.delete(connection);
    if (!ROOMS.includes(room) && !this.#connectionsIn(room).length) this.#history.delete(room);
    this.#announce(room);
  }

  #remember(connection, { id, text, at }) {
    if (typeof id !== 'string' || typeof text !== 'string' || typeof at !== 'number') return;
    const history = this.#history.get(this.#places.get(connection));
    const { userId, data } = connection;
    history?.push({
      type: 'chat',
      id,
      from: connection.id,
      userId,
      name: data.name,
      text: text.slice(0, MAX_TEXT_CHARS),
      at,
    });
    if (history?.length > HISTORY) history.shift();
  }

  #connectionsIn(room) {
    return [...this.#places].filter(([, place]) => place === room).map(([connection]) => connection);
  }

  /** Tells who is here once per turn, however many came and went in it. */
  #announce(room) {
    if (this.#changed.size === 0) setImmediate(() => this.#flush());
    this.#changed.add(room);
  }

  #flush() {
    for (const room of this.#changed) {
      const people = this.#people(room);
      if (people.length > 0) this.#manager.sendToRoom(room, fromServer({ type: 'people', room, people }));
    }
    this.#changed.clear();
    const rooms = [...this.#history.keys()].map((room) => ({ room, people: this.#people(room).length }));
    this.#manager.broadcast(fromServer({ type: 'rooms', rooms }));
  }

  /** A person once, however many tabs they have open. */
  #people(room) {
    const people = new Map();
    for (const { id, userId, data } of this.#connectionsIn(room)) {
      const person = people.get(userId) ?? { userId, name: data.name, connections: [] };
      person.connections.push(id);
      people.set(userId, person);
    }
    return [...people.values()].sort((a, b) => a.name.localeCompare(b.name));
  }
}
