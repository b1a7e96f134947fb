// The deeds of a process of the run, in a file: it outlives the process, however that ends.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

/** A file of entries. Each is written at once. */
export class Journal {
  #file;

  constructor(path) {
    this.#file = openSync(path, 'a');
  }

  /** `entry` is an array that JSON can hold. */
  write(entry) {
    writeSync(this.#file, `${JSON.stringify(entry)}\n`);
  }

  close() {
    closeSync(this.#file);
  }
}

/** The entries of a journal, in their order. */
export function readJournal(path) {
  const lines = readFileSync(path, 'utf8').split('\n');
  // Behind the last line break there is nothing, or half an entry of a process that was killed.
  return lines.slice(0, -1).map((line) => JSON.parse(line));
}
