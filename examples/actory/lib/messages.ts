/** A message to deliver; to everyone, if `to` is empty. */
export interface Draft {
  to: string;
  text: string;
}

/** The way of a draft to the server. */
export type Via = 'socket' | 'route handler' | 'server action';

/** A message of the server. */
export type ToPage =
  | { type: 'welcome'; server: string }
  | { type: 'message'; id: string; from: string; to: string; text: string; via: Via; server: string };

/** A message of a page. Either kind goes to all tabs of its user, in Rust; a draft is for server.ts as well. */
export type FromPage = ({ type: 'draft' } & Draft) | { type: 'echo'; tab: string; sentAt: number };

/** This server's name. */
export const SERVER = process.env.SERVER_NAME ?? 'this server';

/** The id of the user of that name. */
export const userIdOf = (name: string) => name.toLowerCase();

/** The draft in what somebody sent, if there is one. */
export function readDraft(text: unknown): Draft | null {
  try {
    const { type, to, text: words } = typeof text === 'string' ? JSON.parse(text) : Object(text);
    if (type !== 'draft' || typeof to !== 'string' || typeof words !== 'string') return null;
    if (to.length > 32 || words.trim() === '' || words.length > 1000) return null;
    return { to: to.trim(), text: words.trim() };
  } catch {
    return null;
  }
}
