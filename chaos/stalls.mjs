// Times in which the machine itself stood still: nobody who is late then is to blame.

const LOOK_MS = 50;
/** This process was not run for longer than that. */
const STALL_MS = 250;

/** Looks at the clock, and keeps when it jumped. */
export class Stalls {
  #timer;
  #periods = [];

  start() {
    let seen = Date.now();
    this.#timer = setInterval(() => {
      const now = Date.now();
      if (now - seen > STALL_MS) this.#periods.push({ since: seen, until: now });
      seen = now;
    }, LOOK_MS);
    return this;
  }

  /** True if there was one between these times, in Unix milliseconds. */
  within(from, to) {
    return this.#periods.some(({ since, until }) => since <= to && until >= from);
  }

  close() {
    clearInterval(this.#timer);
  }
}
