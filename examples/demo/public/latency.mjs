/** The figures and the chart go back so far. */
export const KEEP_MS = 30_000;

const now = () => performance.now();

/** Round trips over the last half minute, and the one that is still under way. */
export class Trips {
  /** { at, ms }, oldest first. */
  samples = [];
  #pending = new Map();

  /** One begins, under a name of its own. */
  begin(key) {
    this.#pending.set(key, now());
  }

  /** It is back. Answers with how long it took, or undefined if it was not known. */
  end(key) {
    const start = this.#pending.get(key);
    if (start === undefined) return;
    this.#pending.delete(key);
    const at = now();
    this.samples.push({ at, ms: at - start });
    while (this.samples[0].at < at - KEEP_MS) this.samples.shift();
    return at - start;
  }

  /** Those under way will not come back. */
  forget() {
    this.#pending.clear();
  }

  /** The round trip now: the median of the last five, or longer if one has been under way for longer. */
  get current() {
    const [oldest] = this.#pending.values();
    const waiting = oldest === undefined ? 0 : now() - oldest;
    const last = this.samples.slice(-5).map(({ ms }) => ms);
    const median = last.sort((a, b) => a - b)[last.length >> 1];
    return median === undefined && waiting === 0 ? undefined : Math.max(median ?? 0, waiting);
  }

  /** Those that ended since `at`. */
  since(at) {
    return this.samples.filter((sample) => sample.at >= at);
  }
}
