// Medians, the table, and the targets. Pure: runs in, text out.
import { JUDGED } from './fair.mjs';

const median = (values) => {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** { work: { server: figures } }: each figure its own median, and the runs it comes from, by repeat. */
export function medians(works, runs) {
  const figures = {};
  for (const work of works) {
    const done = runs.filter((run) => run.work === work.name && !run.error);
    for (const server of new Set(done.map((run) => run.server))) {
      const good = done
        .filter((run) => run.server === server)
        .map((run) => ({
          repeat: run.repeat,
          // At a fixed rate there is nothing to compare.
          throughput: work.timed && work.cost ? run.throughput : undefined,
          cost: work.cost ? run[work.cost] : undefined,
          p50: run.p50_us,
          p99: run.p99_us,
          sendP99: run.send_p99_us,
          lost: run.unanswered / run.messages,
          core: work.timed ? run.server_cpu : undefined,
          redis: run.redis_us_per_message,
          bystanders: run.bystanders_cpu,
          idle: run.bystanders_idle_cpu,
          more: run.bystanders_cpu - run.bystanders_idle_cpu,
          alive: run.alive,
          connections: run.connections,
        }));
      const of = (field) => median(good.map((run) => run[field]));
      const costs = good.map((run) => run.cost).filter(Number.isFinite);
      figures[work.name] ??= {};
      figures[work.name][server] = {
        ...Object.fromEntries(Object.keys(good[0]).map((field) => [field, of(field)])),
        low: costs.length ? Math.min(...costs) : undefined,
        high: costs.length ? Math.max(...costs) : undefined,
        runs: good,
      };
    }
  }
  return figures;
}

/**
 * The median of the ratios of each repeat. Runs of one repeat lie next to each other, so a machine that is slower for a
 * minute slows both sides of a ratio; of two medians one might be from such a minute and the other not.
 */
function ratio(own, other, field) {
  const pairs = (own?.runs ?? []).map((run) => {
    const same = other?.runs.find(({ repeat }) => repeat === run.repeat);
    return same ? run[field] / same[field] : undefined;
  });
  return median(pairs);
}

const number = (value, digits = 0) =>
  value === undefined
    ? ''
    : value.toLocaleString('en-GB', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const cost = (value) => (value === undefined ? '' : number(value, value < 10 ? 2 : value < 100 ? 1 : 0));
const times = (value) => number(value, 2);

/** Columns: the head of each, and what a figure has there among those of the other servers. */
const COMMON = [
  [
    'per second',
    (figure) =>
      figure.alive === undefined
        ? number(figure.throughput)
        : `${figure.alive} of ${figure.connections} alive`,
  ],
  ['cost', (figure) => cost(figure.cost)],
  [
    'lowest to highest',
    (figure) => (figure.cost === undefined ? '' : `${cost(figure.low)} to ${cost(figure.high)}`),
  ],
  ['p50 us', (figure) => number(figure.p50)],
  ['p99 us', (figure) => number(figure.p99)],
  ['core', (figure) => times(figure.core)],
];
const ALONE = [
  ['cost : floor', (figure, servers) => times(ratio(figure, servers.floor, 'cost'))],
  ['cost : uWS', (figure, servers) => times(ratio(figure, servers.uws, 'cost'))],
  ['cost : ws', (figure, servers) => times(ratio(figure, servers.ws, 'cost'))],
  ['throughput : ws', (figure, servers) => times(ratio(figure, servers.ws, 'throughput'))],
];
const WITH_REDIS = [
  ['Redis us', (figure) => cost(figure.redis)],
  ['the seven', (figure) => number(figure.bystanders, 4)],
  ['idle', (figure) => number(figure.idle, 4)],
  ['cost : guide', (figure, servers) => times(ratio(figure, servers.guide, 'cost'))],
  ['throughput : guide', (figure, servers) => times(ratio(figure, servers.guide, 'throughput'))],
  ['cost : without', (figure, servers) => times(ratio(figure, servers.without, 'cost'))],
  ['Redis : without', (figure, servers) => times(ratio(figure, servers.without, 'redis'))],
];

/**
 * Markdown: one table over the works without Redis, one over those with it, and the same for those of `fair`; one that is empty
 * is left out.
 */
export function tables(works, figures) {
  const measured = (fair, redis) =>
    works.filter((work) => figures[work.name] && !!work.fair === fair && !!work.redis === redis);
  return [
    table(figures, measured(false, false), [...COMMON, ...ALONE]),
    table(figures, measured(false, true), [...COMMON, ...WITH_REDIS]),
    fairTable(figures, measured(true, false), 'alone'),
    fairTable(figures, measured(true, true), 'over Redis'),
  ]
    .filter(Boolean)
    .join('\n\n');
}

const millis = (micros) => (micros === undefined ? '' : number(micros / 1000, micros < 100_000 ? 1 : 0));
/** p50 / p99, with `>` where a message that was never back is the one that counts: for as long as it was waited for. */
const both = (figure) => {
  if (!figure) return '';
  const longer = (share) => (figure.lost > share ? '> ' : '');
  return `${longer(0.5)}${millis(figure.p50)} / ${longer(0.01)}${millis(figure.p99)}`;
};

const FAIR = [
  ['this', 'actory', both],
  ['`sendToUser`', 'actory', (figure) => millis(figure?.sendP99)],
  ['floor', 'floor', both],
  ['its `sendToUser`', 'floor', (figure) => millis(figure?.sendP99)],
  ['ws', 'ws', both],
  ['uWS', 'uws', both],
];

/** A row for each attack and number of attackers: what a bystander sees, p50 / p99, and what `sendToUser` takes, p99, in ms. */
function fairTable(figures, works, way) {
  if (works.length === 0) return undefined;
  const columns = FAIR.filter(([, server]) => works.some(({ name }) => figures[name][server]));
  const heads = [`attack, ${way}`, 'attackers', ...columns.map(([head]) => head)];
  const rows = works.map(({ name, kind, title, attackers }) => [
    `\`${kind}\`: ${title}`,
    number(attackers),
    ...columns.map(([, server, cell]) => cell(figures[name][server])),
  ]);
  return markdown(heads, rows, 1);
}

function table(figures, works, columns) {
  if (works.length === 0) return undefined;
  const heads = ['work', 'server', ...columns.map(([head]) => head)];
  const rows = works.flatMap(({ name, title }) =>
    Object.entries(figures[name]).map(([server, figure]) => [
      title,
      server,
      ...columns.map(([, cell]) => cell(figure, figures[name])),
    ]),
  );
  return markdown(heads, rows, 2);
}

/** The first columns, as many as `texts`, are no figures. */
function markdown(heads, rows, texts) {
  return [heads, heads.map((_, i) => (i < texts ? '---' : '--:')), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');
}

/** The targets, and whether this run meets them. A target whose figures are missing is left out. */
export function targets(works, figures) {
  const of = (work, field) => figures[work]?.actory?.[field];
  const against = (work, other, field) => ratio(figures[work]?.actory, figures[work]?.[other], field);
  const lost = figures.hold?.actory && of('hold', 'connections') - of('hold', 'alive');
  const p99 = of('blocked', 'p99');
  const seven = of('eight', 'more');
  const list = [
    ['echo 64 B x 16: CPU per message, of the floor', against('echo-64', 'floor', 'cost'), 'at most', 1.3],
    ['echo 64 B x 16: CPU per message, of uWebSockets.js', against('echo-64', 'uws', 'cost'), 'at most', 0.7],
    ['echo 512 B: CPU per message, of the floor', against('echo-512', 'floor', 'cost'), 'at most', 1.1],
    ['echo 512 B: p99, of the floor', against('echo-512', 'floor', 'p99'), 'at most', 1.5],
    ['fan-out: CPU per delivery, of uWebSockets.js', against('fanout', 'uws', 'cost'), 'at most', 1.0],
    ['JavaScript handler: throughput, of ws', against('js-echo', 'ws', 'throughput'), 'at least', 4],
    ['idle: bytes a connection', of('idle', 'cost'), 'at most', 2000],
    ['JavaScript busy 200 of 250 ms: p99 in ms', p99 && p99 / 1000, 'at most', 5],
    ['JavaScript blocked for 60 s: connections lost', lost, 'at most', 0],
    [
      'through Redis, 1 in flight: CPU per message, of the guide',
      against('relay-1', 'guide', 'cost'),
      'at most',
      0.25,
    ],
    [
      'through Redis, 8 in flight: CPU per message, of the guide',
      against('relay-8', 'guide', 'cost'),
      'at most',
      0.1,
    ],
    ...historyTargets(against),
    ['eight servers: percent of a core for the seven without users', seven && seven * 100, 'at most', 1],
    ...works
      .filter((work) => work.fair && work.attackers === JUDGED)
      .flatMap((work) => fairTargets(work, figures)),
  ];
  return list
    .filter(([, measured]) => measured !== undefined)
    .map(([name, measured, bound, limit]) => {
      const pass = bound === 'at most' ? measured <= limit : measured >= limit;
      const shown = number(measured, measured < 100 && measured % 1 ? 2 : 0);
      return {
        name,
        measured,
        bound,
        limit,
        pass,
        line: `${pass ? 'PASS' : 'miss'}  ${name}: ${shown}, ${bound} ${limit}`,
      };
    });
}

/** A history's price; Redis' by the size of its batches, which one connection decides. */
const historyTargets = (against) => [
  ...[5, 20, 50].map((thousands) => [
    `with a history, ${thousands},000 a second: CPU per message, of that without`,
    against(`paced-${thousands}`, 'without', 'cost'),
    'at most',
    1.3,
  ]),
  ...[1, 8].map((inFlight) => [
    `with a history, ${inFlight} in flight: CPU per message, of that without`,
    against(`history-${inFlight}`, 'without', 'cost'),
    'at most',
    1.3,
  ]),
  ...[
    [1, 2.5],
    [8, 7],
  ].map(([inFlight, limit]) => [
    `with a history, batches of ${inFlight}: Redis' CPU per message, of that without`,
    against(`batch-${inFlight}`, 'without', 'redis'),
    'at most',
    limit,
  ]),
];

function fairTargets({ name, title, attackers, redis }, figures) {
  const attack = `${title}, ${attackers} attackers${redis ? ', over Redis' : ''}`;
  const { p99, sendP99 } = figures[name]?.actory ?? {};
  return [
    [`${attack}: bystander's p99 in ms`, p99 && p99 / 1000, 'at most', 10],
    [`${attack}: sendToUser's p99 in ms`, sendP99 && sendP99 / 1000, 'at most', 50],
  ];
}
