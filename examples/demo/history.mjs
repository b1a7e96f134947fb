/** Messages of a room that whoever joins gets to see. */
const LENGTH = 50;

/** The messages of each room, oldest first. */
export class History {
  /** Room -> messages. */
  #rooms = new Map();

  /** The messages of a room. */
  of(room) {
    return this.#rooms.get(room) ?? [];
  }

  /** Adds those messages of a room that are not known yet, and answers with them. */
  add(room, messages) {
    const known = this.of(room);
    const ids = new Set(known.map(({ id }) => id));
    const added = messages.filter(({ id }) => !ids.has(id));
    if (added.length === 0) return added;
    const all = [...known, ...added].sort((a, b) => a.at - b.at);
    this.#rooms.set(room, all.slice(-LENGTH));
    return added;
  }

  /** Forgets the rooms that are not among these. */
  keep(rooms) {
    for (const room of this.#rooms.keys()) if (!rooms.has(room)) this.#rooms.delete(room);
  }

  /** Rooms -> messages, for JSON. */
  toJSON() {
    return Object.fromEntries(this.#rooms);
  }
}
