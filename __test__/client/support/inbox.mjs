/** Items in the order in which they came, for those who wait for them. */
export class Inbox {
  #items = [];
  #waiting = [];

  push(item) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#items.push(item);
  }

  next() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The first from here on that it holds for; those before it are gone. */
  async find(holds) {
    for (;;) {
      const item = await this.next();
      if (holds(item)) return item;
    }
  }

  /** Those that are there already. */
  drain() {
    return this.#items.splice(0);
  }
}
