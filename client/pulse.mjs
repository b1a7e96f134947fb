const now = () => performance.now();

// Tells a dead link: silent for so long, asked for a sign of life, and silent for half as long again.
export class Pulse {
  #silenceMs;
  #ask;
  #die;
  #timer;
  #heardAt;
  #askedAt;

  constructor(silenceMs, ask, die) {
    this.#silenceMs = silenceMs;
    this.#ask = ask;
    this.#die = die;
  }

  start() {
    this.hear();
    this.#check();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  // Each message comes by here: it sets no timer.
  hear() {
    this.#heardAt = now();
    this.#askedAt = undefined;
  }

  // Something hints at a dead link.
  doubt() {
    if (this.#askedAt !== undefined) return;
    this.#askedAt = now();
    this.#check();
    this.#ask();
  }

  #check() {
    clearTimeout(this.#timer);
    const dueAt =
      this.#askedAt === undefined ? this.#heardAt + this.#silenceMs : this.#askedAt + this.#silenceMs / 2;
    const rest = dueAt - now();
    if (rest > 0) this.#timer = setTimeout(() => this.#check(), rest);
    else if (this.#askedAt === undefined) this.doubt();
    else this.#die();
  }
}
