/** One topic as Redis has it: epochs, terms, what was trimmed, and what a failover lost. */
export class History {
  #epoch = 0;
  #terms = [0];
  #term = 0;
  /** Those of this epoch that no failover lost, in order; trimmed ones too. */
  #entries = [];
  /** Number of the last message, whatever became of it. */
  count = 0;

  constructor(name, kept) {
    this.name = name;
    this.kept = kept;
  }

  #positionOf = (term, offset) => `epoch${this.#epoch}.term${term}.${offset}`;

  get #offset() {
    return this.#entries.at(-1)?.offset ?? 0;
  }

  /** Of the last message; `null` before the first. */
  get position() {
    if (this.#entries.length === 0 && this.#terms.length === 1 && this.#epoch === 0) return null;
    return this.#positionOf(this.#term, this.#offset);
  }

  append() {
    const number = ++this.count;
    if (!this.kept) return { number };
    const offset = this.#offset + 1;
    const entry = { number, offset, term: this.#term, position: this.#positionOf(this.#term, offset) };
    this.#entries.push(entry);
    return entry;
  }

  trim(few) {
    let left = few;
    for (const entry of this.#entries) {
      if (entry.trimmed || left === 0) continue;
      entry.trimmed = true;
      left -= 1;
    }
  }

  /** As by FLUSHALL: the term stays. */
  empty() {
    this.#epoch += 1;
    this.#terms = [this.#term];
    this.#entries = [];
  }

  /** The promoted replica lacks so many of the last messages. */
  failOver(lost) {
    this.#entries.splice(Math.max(0, this.#entries.length - lost), lost);
    this.#terms.push(++this.#term);
  }

  /** Those of the last few that are of this term. */
  last(few) {
    if (few === 0) return [];
    return this.#entries.slice(-few).filter((entry) => !entry.trimmed && entry.term === this.#term);
  }

  /** Answer to a `resume`: replayed messages, and the members of `resumed`. `whole`: pages go on from one term to the next. */
  read(position, most, whole) {
    let term = this.#terms[0];
    let index = 0;
    if (position !== null) {
      const [, epoch, inTerm, offset] = /^epoch(\d+)\.term(\d+)\.(\d+)$/.exec(position);
      term = Number(inTerm);
      if (Number(epoch) !== this.#epoch) {
        return this.#page(0, this.#terms[0], most, whole, 'emptied');
      }
      index = this.#entries.findIndex(
        (each) => each.term > term || (each.term === term && each.offset > offset),
      );
      if (index < 0) index = this.#entries.length;
    }
    const next = this.#entries[index];
    if (next?.trimmed) return this.#page(index, term, most, whole, 'trimmed');
    const crosses = term !== this.#term;
    if (crosses && (whole || next?.term !== term))
      return this.#page(index, next?.term, most, whole, 'failover');
    return this.#page(index, term, most, whole);
  }

  #page(index, term, most, whole, reason) {
    const rest = this.#entries.slice(index).filter((entry) => !entry.trimmed);
    const first = rest[0]?.term ?? term;
    const messages = rest.filter((entry) => whole || entry.term === first).slice(0, most);
    const end = messages.length === rest.length;
    const crossed = first === this.#term || whole || rest.length === 0;
    const answer = { recovered: reason === undefined };
    if (reason !== undefined) answer.reason = reason;
    const isLast = end && crossed;
    answer.position =
      isLast && (reason !== undefined || rest.length === 0) ? this.position : messages.at(-1)?.position;
    if (!isLast) answer.more = true;
    return { messages, answer };
  }
}
