// CPU time of processes, and waiting for them to have nothing more to do.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 50;
/** The share of a core that a process takes anyway. */
const IDLE = 0.02;
const LIMIT_MS = 20_000;

/** CPU time of a process so far, all threads, in nanoseconds. It is exact while the process sleeps. */
export function cpuNanos(pid) {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]))
    .reduce((sum, nanos) => sum + nanos, 0);
}

/** True if a thread of the process runs, or would if it were given a core. */
const isRunnable = (pid) =>
  readdirSync(`/proc/${pid}/task`).some((task) => {
    const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'latin1');
    return stat[stat.lastIndexOf(')') + 2] === 'R';
  });

/** Waits until these processes are done with what they still have. */
export async function atRest(pids) {
  const all = () => pids.reduce((sum, pid) => sum + cpuNanos(pid), 0);
  const until = performance.now() + LIMIT_MS;
  for (let before = all(), calm = 0; calm < 3; ) {
    if (performance.now() > until) throw new Error(`still busy after ${LIMIT_MS / 1000} s: ${pids.join()}`);
    await sleep(LOOK_MS);
    const now = all();
    calm = now - before < IDLE * LOOK_MS * 1e6 && !pids.some(isRunnable) ? calm + 1 : 0;
    before = now;
  }
}
