// Sends a message of this kind, whose answer is a promise. For the classes of this folder alone.
export const ASK = Symbol('ask');
// Gives up waiting for an answer.
export const GIVE_UP = Symbol('give up');
