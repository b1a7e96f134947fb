// The key of what the core shows to the classes that extend it: `ask(message)` sends it and answers `{ id, promise }`, `listeners`,
// `outbox`, `topics`, `options`. They set `greeted(hello, isOther)`, called when a connection is open, of another user or not, and
// `returns(topic)`, true for one that the client joins again by itself.
export const INSIDE = Symbol();
