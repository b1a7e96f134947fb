// Medians, the table, and the targets. Pure: runs in, text out.
import { WORKS } from './works.mjs';

const median = (values) => {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** { work: { server: { throughput, cost, low, high, p50, p99, alive, connections, … } } }, each figure its own median. */
export function medians(runs) {
  const figures = {};
  for (const work of WORKS) {
    for (const server of new Set(runs.filter((run) => run.work === work.name).map((run) => run.server))) {
      const good = runs.filter((run) => run.work === work.name && run.server === server && !run.error);
      if (good.length === 0) continue;
      const costs = work.cost ? good.map((run) => run[work.cost]) : [];
      figures[work.name] ??= {};
      figures[work.name][server] = {
        runs: good.length,
        // At a fixed rate there is nothing to compare.
        throughput: work.timed && work.cost ? median(good.map((run) => run.throughput)) : undefined,
        cost: median(costs),
        low: costs.length ? Math.min(...costs) : undefined,
        high: costs.length ? Math.max(...costs) : undefined,
        p50: median(good.map((run) => run.p50_us)),
        p99: median(good.map((run) => run.p99_us)),
        alive: median(good.map((run) => run.alive)),
        connections: good[0].connections,
        serverCpu: median(good.map((run) => run.server_cpu)),
        generatorCpu: median(good.map((run) => run.generator_cpu)),
      };
    }
  }
  return figures;
}

const ratio = (a, b) => (a !== undefined && b ? a / b : undefined);
const number = (value, digits = 0) =>
  value === undefined
    ? ''
    : value.toLocaleString('en-GB', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const cost = (value) => (value === undefined ? '' : number(value, value < 10 ? 2 : value < 100 ? 1 : 0));
const times = (value) => number(value, 2);

/** One Markdown table over all works. */
export function table(figures) {
  const rows = [
    [
      'work',
      'server',
      'per second',
      'cost',
      'lowest to highest',
      'p50 us',
      'p99 us',
      'core',
      'cost : floor',
    ].concat(['cost : uWS', 'cost : ws', 'throughput : ws']),
    ['---', '---', ...Array(10).fill('--:')],
  ];
  for (const { name, title } of WORKS) {
    const servers = figures[name] ?? {};
    const per = (other) => (own) => times(ratio(own, servers[other]?.cost));
    for (const [server, figure] of Object.entries(servers)) {
      rows.push([
        title,
        server,
        figure.alive === undefined
          ? number(figure.throughput)
          : `${figure.alive} of ${figure.connections} alive`,
        cost(figure.cost),
        figure.cost === undefined ? '' : `${cost(figure.low)} to ${cost(figure.high)}`,
        number(figure.p50),
        number(figure.p99),
        figure.throughput === undefined ? '' : times(figure.serverCpu),
        per('floor')(figure.cost),
        per('uws')(figure.cost),
        per('ws')(figure.cost),
        times(ratio(figure.throughput, servers.ws?.throughput)),
      ]);
    }
  }
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n');
}

/** What is promised, and whether this run holds it. A target whose figures are missing is left out. */
export function targets(figures) {
  const of = (work, server, field) => figures[work]?.[server]?.[field];
  const against = (work, other, field = 'cost') => ratio(of(work, 'actory', field), of(work, other, field));
  const hold = figures.hold?.actory;
  const list = [
    ['echo 64 B x 16: CPU per message, of the floor', against('echo-64', 'floor'), 'at most', 1.3],
    ['echo 64 B x 16: CPU per message, of uWebSockets.js', against('echo-64', 'uws'), 'at most', 0.7],
    ['echo 512 B: CPU per message, of the floor', against('echo-512', 'floor'), 'at most', 1.1],
    ['echo 512 B: p99, of the floor', against('echo-512', 'floor', 'p99'), 'at most', 1.5],
    ['fan-out: CPU per delivery, of uWebSockets.js', against('fanout', 'uws'), 'at most', 1.0],
    ['JavaScript handler: throughput, of ws', against('js-echo', 'ws', 'throughput'), 'at least', 4],
    ['idle: bytes a connection', of('idle', 'actory', 'cost'), 'at most', 2000],
    ['JavaScript busy 200 of 250 ms: p99 in ms', ratio(of('blocked', 'actory', 'p99'), 1000), 'at most', 5],
    ['JavaScript blocked for 60 s: connections lost', hold && hold.connections - hold.alive, 'at most', 0],
  ];
  return list
    .filter(([, measured]) => measured !== undefined)
    .map(([name, measured, bound, limit]) => {
      const pass = bound === 'at most' ? measured <= limit : measured >= limit;
      const line = `${pass ? 'PASS' : 'miss'}  ${name}: ${number(measured, measured < 100 ? 2 : 0)}, ${bound} ${limit}`;
      return { name, measured, bound, limit, pass, line };
    });
}
