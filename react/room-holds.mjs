const nothing = () => {};
// Rooms that components are in, and how many of them, by client.
const held = new WeakMap();

// Has a client be in a room as long as a component needs it. Answers the promise of that, and what ends it.
export function hold(client, room) {
  const rooms = held.get(client) ?? new Map();
  held.set(client, rooms);
  rooms.set(room, (rooms.get(room) ?? 0) + 1);
  const release = () => {
    rooms.set(room, rooms.get(room) - 1);
    // StrictMode and fast refresh end effects and run them again at once.
    queueMicrotask(() => {
      if (rooms.get(room) !== 0) return;
      rooms.delete(room);
      client.leave(room).catch(nothing);
    });
  };
  return { joined: client.join(room), release };
}
