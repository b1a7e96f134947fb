// The state machine of the client against a server that is a model, through faults in any order.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { Topics } from '../../client/topics.mjs';
import { root } from '../../scripts/run.mjs';
import { MUTANTS } from './simulation/mutants.mjs';
import { simulate } from './simulation/run.mjs';

const RUNS = Number(process.env.RUNS ?? 20_000);
const SEED = Number(process.env.SEED ?? 1);
const source = readFileSync(join(root, 'client/topics.mjs'), 'utf8');

test('every message is handed on once and in order, or a missed says why not', () => {
  const found = simulate(Topics, process.env.SEED ? Number(process.env.RUNS ?? 1) : RUNS, SEED);
  assert.equal(found, undefined, `SEED=${found?.seed} fails: ${inspect(found, { depth: 5, compact: 3 })}`);
});

for (const [name, before, after] of MUTANTS) {
  test(`the simulation finds a planted bug: ${name}`, async () => {
    assert.equal(source.split(before).length, 2, 'what it replaces is there once');
    const mutant = source.replace(before, () => after);
    const module = await import(`data:text/javascript,${encodeURIComponent(mutant)}`);
    assert.ok(simulate(module.Topics, RUNS), `it survives ${RUNS} runs`);
  });
}
