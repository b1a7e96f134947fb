// The settings of the command line, and those that the seed deals.
import { parseArgs } from 'node:util';
import { FAULTS } from './faults.mjs';
import { HISTORY_FAULTS } from './history-faults.mjs';
import { Random } from './random.mjs';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    /** The servers keep histories, and more is done to Redis. */
    history: { type: 'boolean', default: false },
    /** Everything that broke is shown. */
    all: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    /** Names of faults, by commas: no others are dealt. */
    only: { type: 'string' },
    faults: { type: 'string' },
    connections: { type: 'string' },
  },
});

export const { short, history, all: full } = values;
export const seed = Number(values.seed);
export const random = new Random(seed);
export const connections = Number(values.connections ?? (short ? 150 : 1000));
/** Messages a second of each source: each server, and the clients together. */
export const rate = 500;

/** Faults, by name. */
export const faults = history ? { ...FAULTS, ...HISTORY_FAULTS } : FAULTS;

/** The names of the faults, in their order: each once, before one comes again. */
export const deck = deal(Number(values.faults ?? (short ? 6 : history ? 40 : 30)));

/** The servers' use of Redis in this run. */
export const redisOptions = {
  routing: random.choice(history ? ['user'] : ['user', 'user', 'shared']),
  connections: random.choice([1, 1, 2, 3]),
  graceMs: random.choice([0, 200, 5000]),
};

function deal(count) {
  const dealt = [];
  while (dealt.length < count) dealt.push(...shuffled());
  return dealt.slice(0, count);
}

/** All faults. With histories every other one is of those that there are only then, as long as there are any. */
function shuffled() {
  if (values.only !== undefined) {
    const names = values.only.split(',');
    const unknown = names.filter((name) => !(name in faults));
    if (unknown.length > 0)
      throw new Error(`no such fault: ${unknown}; there are ${Object.keys(faults).join(', ')}`);
    return random.shuffled(names);
  }
  const usual = random.shuffled(Object.keys(FAULTS));
  if (!history) return usual;
  const more = random.shuffled(Object.keys(HISTORY_FAULTS));
  const turns = Array.from({ length: Math.max(usual.length, more.length) }, (_, turn) => turn);
  return turns.flatMap((turn) => [more[turn], usual[turn]]).filter((name) => name !== undefined);
}
