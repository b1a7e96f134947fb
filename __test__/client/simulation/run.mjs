import { World } from './world.mjs';

/** Once failed after very many runs. */
const RARE = [1_041_424, 1_084_579, 1_084_970, 1_148_060, 1_853_024];

/** The frequency of each, beside the others. */
const WEIGHTS = {
  append: 14,
  flow: 12,
  serve: 12,
  deliver: 24,
  connect: 8,
  cut: 4,
  cutInListener: 2,
  again: 3,
  trim: 2,
  expire: 1,
  empty: 1,
  failOver: 2,
  gap: 2,
  joinOrLeave: 2,
  awayOrBack: 1,
  readableOrNot: 0.4,
};
const KINDS = Object.entries(WEIGHTS).flatMap(([kind, weight]) => Array(Math.ceil(weight * 5)).fill(kind));

/** Numbers from 0 to below 2^32 that follow from the seed (mulberry32). */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

function plan(seed) {
  const next = numbers(seed);
  const setup = {
    wholePages: next() % 2 === 0,
    mostMessages: next() % 4 === 0 ? 4 : 10_000,
    mostBytes: 8 << 20,
    byItself: seed % 3 === 0 && !RARE.includes(seed),
  };
  const operations = Array.from({ length: 20 + (next() % 80) }, () => [
    KINDS[next() % KINDS.length],
    next() % 60,
    next() % 60,
  ]);
  return { setup, operations };
}

/** The fault, if there is one. */
function fault(Topics, setup, operations) {
  try {
    const world = new World(Topics, setup);
    for (const [kind, a, b] of operations) world[kind](a, b);
    world.settle();
  } catch (error) {
    return error;
  }
}

/** Leaves out operations as long as it fails without them. */
function shorten(Topics, setup, operations) {
  let shortest = operations;
  for (let size = Math.ceil(shortest.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < shortest.length; ) {
      const without = shortest.toSpliced(at, size);
      if (fault(Topics, setup, without)) shortest = without;
      else at += size;
    }
  }
  return shortest;
}

/** Runs one list of operations after the other. Answers with the first that fails, made short. */
export function simulate(Topics, runs, first = 1) {
  for (let run = -RARE.length; run < runs; run += 1) {
    const seed = run < 0 ? RARE.at(run) : first + run;
    const { setup, operations } = plan(seed);
    if (!fault(Topics, setup, operations)) continue;
    const shortest = shorten(Topics, setup, operations);
    const { message } = fault(Topics, setup, shortest);
    return { seed, message, setup, operations: shortest };
  }
}
