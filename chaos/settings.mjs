// What the command line says, and what the seed deals.
import { parseArgs } from 'node:util';
import { FAULTS } from './faults.mjs';
import { Random } from './random.mjs';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    /** Names of faults, by commas: no others are dealt. */
    only: { type: 'string' },
    faults: { type: 'string' },
    connections: { type: 'string' },
  },
});

export const { short } = values;
export const seed = Number(values.seed);
export const random = new Random(seed);
export const connections = Number(values.connections ?? (short ? 150 : 1000));
/** Messages a second of each source: each server, and the clients together. */
export const rate = 500;

/** The names of the faults, in their order: each once, before one comes again. */
export const deck = deal(
  values.only?.split(',') ?? Object.keys(FAULTS),
  Number(values.faults ?? (short ? 6 : 30)),
);

/** How the servers use Redis in this run. */
export const redisOptions = {
  routing: random.choice(['user', 'user', 'shared']),
  connections: random.choice([1, 1, 2, 3]),
  graceMs: random.choice([0, 200, 5000]),
};

function deal(names, count) {
  const unknown = names.filter((name) => !(name in FAULTS));
  if (unknown.length > 0)
    throw new Error(`no such fault: ${unknown}; there are ${Object.keys(FAULTS).join(', ')}`);
  const dealt = [];
  while (dealt.length < count) dealt.push(...random.shuffled(names));
  return dealt.slice(0, count);
}
