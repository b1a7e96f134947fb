// `npm run bench`: every work on every server, interleaved, medians, one table, the targets. See README.md.
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { ATTACKERS, fairWorks, KIND_NAMES, WAYS } from './runner/fair.mjs';
import { prepare } from './runner/prepare.mjs';
import { endAll, measureEach, measureInTurns } from './runner/processes.mjs';
import { medians, tables, targets } from './runner/report.mjs';
import { DISTURBED, SERVERS, WORKS } from './runner/works.mjs';

const USAGE = `node benches/run.mjs [options]
  --repeats N       runs of each work on each server, 5
  --seconds N       measured window of a run, 3 (and --warmup N before it, 1.5)
  --retries N       times that a run which other processes disturbed is tried again, 2
  --only A,B        of the works ${WORKS.map((work) => work.name).join(', ')}; or fair, which is not done otherwise
  --servers A,B     of the servers ${SERVERS.join(', ')}
  --kinds A,B       fair: of the attacks ${KIND_NAMES.join(', ')}
  --attackers N,N   fair: how many at once, ${ATTACKERS.join()}
  --ways A,B        fair: of ${WAYS.join(', ')}
  --any-build       measures this package as it is built, for release or not
  --strict          exit with 1 when a target is missed`;

function options() {
  const { values } = parseArgs({
    options: {
      repeats: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      warmup: { type: 'string', default: '1.5' },
      retries: { type: 'string', default: '2' },
      only: { type: 'string', default: WORKS.map((work) => work.name).join() },
      servers: { type: 'string', default: SERVERS.join() },
      kinds: { type: 'string', default: KIND_NAMES.join() },
      attackers: { type: 'string', default: ATTACKERS.join() },
      ways: { type: 'string', default: WAYS.join() },
      'any-build': { type: 'boolean', default: false },
      strict: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const pick = (list, known, what) => {
    const names = list.split(',');
    const unknown = names.find((name) => !known.includes(name));
    if (unknown !== undefined) throw new Error(`no ${what} is called '${unknown}': ${known.join(', ')}`);
    return known.filter((name) => names.includes(name));
  };
  const only = pick(values.only, [...WORKS.map((work) => work.name), 'fair'], 'work');
  const number = (name, low, high) => {
    const value = Number(values[name]);
    if (!(value >= low && value <= high)) throw new Error(`--${name}: a number from ${low} to ${high}`);
    return value;
  };
  const attackers = values.attackers.split(',').map(Number);
  if (!attackers.every((count) => Number.isInteger(count) && count >= 1 && count <= 5000)) {
    throw new Error('--attackers: whole numbers from 1 to 5000');
  }
  const fair = fairWorks(pick(values.kinds, KIND_NAMES, 'attack'), attackers, pick(values.ways, WAYS, 'way'));
  const works = [...WORKS.filter((work) => only.includes(work.name)), ...(only.includes('fair') ? fair : [])];
  const servers = pick(values.servers, SERVERS, 'server');
  return {
    repeats: number('repeats', 1, 100),
    seconds: number('seconds', 0.1, 120),
    warmup: number('warmup', 0, 60),
    retries: number('retries', 0, 20),
    works,
    // Those that have something to do.
    servers: servers.filter((server) => works.some((work) => work.servers.includes(server))),
    anyBuild: values['any-build'],
    strict: values.strict,
  };
}

/** Tries again while other processes take a share of the cores; keeps the runs with the least of that. */
async function undisturbed(run, retries) {
  const worst = (runs) => Math.max(...runs.map(([, result]) => result.others_cpu ?? 0));
  let best = await run();
  for (let tried = 0; tried < retries && worst(best) > DISTURBED; tried++) {
    const again = await run();
    if (again.every(([, result]) => !result.error) && worst(again) < worst(best)) best = again;
  }
  return best;
}

async function main() {
  const chosen = options();
  if (availableParallelism() < 2) {
    throw new Error('needs two cores: one for the server, one for the load generator');
  }
  const tools = prepare(chosen.works, chosen.servers, chosen.anyBuild);
  const started = new Date();
  const load = loadavg()[0];
  const runs = [];
  for (const work of chosen.works) {
    const servers = chosen.servers.filter((server) => work.servers.includes(server));
    const repeats = work.once ? 1 : chosen.repeats;
    for (let repeat = 0; repeat < repeats; repeat++) {
      const told = (server, result) => {
        process.stderr.write(
          `${work.name} ${repeat + 1}/${repeats} ${server}: ${result.error ?? work.brief(result)}\n`,
        );
        runs.push({ ...result, work: work.name, server, repeat });
      };
      // Each of these is tried again by itself; those that take turns only together.
      const groups = work.inTurns ? [servers] : servers.map((server) => [server]);
      const measure = work.measure ?? (work.inTurns ? measureInTurns : measureEach);
      for (const group of groups) {
        const results = await undisturbed(() => measure(tools, work, group, chosen), chosen.retries);
        for (const [server, result] of results) told(server, result);
      }
    }
  }
  const figures = medians(chosen.works, runs);
  const checks = targets(chosen.works, figures);
  const failed = runs.filter((run) => run.error);
  const disturbed = runs.filter((run) => run.others_cpu > DISTURBED).length;

  console.log(`\n${tables(chosen.works, figures)}\n`);
  console.log(
    `${cpus()[0].model}, ${availableParallelism()} cores; Node ${process.version}; ${tools.versions}.`,
  );
  console.log(
    `Medians of ${chosen.repeats}, ${chosen.seconds} s each; load average ${load.toFixed(2)} before the first.`,
  );
  if (tools.build && tools.build !== 'release') console.log(`This package is built ${tools.build}.`);
  if (disturbed > 0) {
    console.log(
      `Disturbed: other processes took more than ${DISTURBED} of a core in ${disturbed} of ${runs.length} runs.`,
    );
  }
  for (const run of failed)
    console.log(`FAILED ${run.work} on ${run.server}, repeat ${run.repeat + 1}: ${run.error}`);
  if (checks.length > 0) console.log(`\n${checks.map((check) => check.line).join('\n')}`);

  const folder = new URL('./results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const file = `${started.toISOString().replace(/[:.]/g, '-')}.json`;
  writeFileSync(
    new URL(file, folder),
    `${JSON.stringify({ started, node: process.version, versions: tools.versions, build: tools.build, load, figures, checks, runs }, null, 1)}\n`,
  );
  console.log(`\nEvery run: benches/results/${file}`);
  return failed.length > 0 || (chosen.strict && checks.some((check) => !check.pass)) ? 1 : 0;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130));
process.on('exit', endAll);
main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(error.message);
    process.exit(2);
  },
);
