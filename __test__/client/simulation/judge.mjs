/** Holds what listeners get to the promise: once, in order, and no hole without a `missed` that has a reason. */
export class Judge {
  #topics = new Map();
  #told = new Map();
  #mayOverflow;
  #wholePages;
  /** Changes with each frame that the client takes. */
  frame = 0;

  constructor(mayOverflow, wholePages) {
    this.#mayOverflow = mayOverflow;
    this.#wholePages = wholePages;
  }

  /** The client is in a topic, whose messages after `number` it is to get. */
  join(topic, number) {
    if (!this.#topics.has(topic)) this.#topics.set(topic, { last: undefined, base: number, covered: 0 });
  }

  leave(topic) {
    this.#topics.delete(topic);
  }

  /** The server has said so. */
  tell(topic, reason) {
    const key = `${topic} ${reason}`;
    this.#told.set(key, (this.#told.get(key) ?? 0) + 1);
  }

  message(topic, number, replayed) {
    const state = this.#topics.get(topic);
    if (!state) throw new Error(`a message of ${topic}, which the client is not in`);
    const { last, base } = state;
    if (last !== undefined && number <= last) throw new Error(`${topic}: ${number} came after ${last}`);
    // A server that lags hands on some from before: they count, and are not owed.
    const next = Math.max(last ?? 0, base) + 1;
    if (number > next && number - 1 > state.covered)
      throw new Error(`${topic}: ${next} is missing before ${number}, and nothing said`);
    state.last = number;
    // The failover that such a page is said to lack messages by lies anywhere in it.
    if (!this.#wholePages || !replayed || state.coveredIn !== this.frame) state.covered = 0;
  }

  /** It covers what there is of the topic by now. */
  missed(topic, reason, count) {
    const key = `${topic} ${reason}`;
    const left = this.#told.get(key) ?? 0;
    if (reason === 'overflow' ? !this.#mayOverflow() : left === 0) {
      throw new Error(`${topic}: missed for ${reason}, which did not happen`);
    }
    if (reason !== 'overflow') this.#told.set(key, left - 1);
    const state = this.#topics.get(topic);
    if (!state) throw new Error(`missed of ${topic}, which the client is not in`);
    state.covered = count;
    state.coveredIn = this.frame;
  }

  /** Everything has arrived. */
  end(topic, count) {
    const state = this.#topics.get(topic);
    if (!state) throw new Error(`${topic}: the client does not know that it is in it`);
    const last = Math.max(state.last ?? 0, state.base, state.covered);
    if (last < count) throw new Error(`${topic}: ${last + 1} to ${count} are missing at the end`);
  }
}
