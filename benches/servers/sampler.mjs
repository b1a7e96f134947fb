// The time that a call of the application takes, at regular times, whatever the calls before it do.
const EVERY_MS = 20;

/**
 * Calls `call` every 20 ms from `begin` to `end`, which tells milliseconds in ascending order, and how many calls failed. A
 * call counts from when it was due. One that has failed counts as if it took the whole window, one that is still waiting as
 * long as it has waited.
 */
export function sampler(call) {
  let [timer, started, due, samples, failures, waiting] = [];
  const make = async (at) => {
    waiting.add(at);
    try {
      await call();
      if (waiting.delete(at)) samples.push(performance.now() - at);
    } catch (error) {
      waiting.delete(at);
      const code = error.code ?? error.message;
      failures[code] = (failures[code] ?? 0) + 1;
    }
  };
  const tick = () => {
    for (; due <= performance.now(); due += EVERY_MS) make(due);
    timer = setTimeout(tick, due - performance.now());
  };
  return {
    begin() {
      clearTimeout(timer);
      [started, samples, failures, waiting] = [performance.now(), [], {}, new Set()];
      due = started + EVERY_MS;
      tick();
    },
    end() {
      clearTimeout(timer);
      const now = performance.now();
      const stuck = [...waiting].map((at) => now - at);
      waiting = new Set();
      const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
      const all = [...samples, ...stuck, ...Array(failed).fill(now - started)].sort((a, b) => a - b);
      return { milliseconds: all, stuck: stuck.length, failures };
    },
  };
}
