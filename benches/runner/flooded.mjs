// One run of `fair`: a server, a bystander that is there first, then attackers, and what each of them saw.
import { setTimeout as sleep } from 'node:timers/promises';
import { start, startServer } from './processes.mjs';

const START_MS = 60_000;
const RUN_MS = 200_000;
/** The longest that a flood lasts beyond the measurement, if nobody ends it. */
const BEYOND_S = 60;
/** The attackers stand back so much for the others on their cores. */
const NICE = '5';

/** One run of each server, one after the other: `[server, report or { error }]`. */
export async function measureFlooded(tools, work, servers, times) {
  const runs = [];
  for (const server of servers) runs.push([server, await measure(tools, work, server, times)]);
  return runs;
}

async function measure(tools, work, server, times) {
  // In the floor, the bystander's server is not the one that is flooded.
  const isFloor = server === 'floor';
  const started = [];
  const launch = (...command) => {
    started.push(start(work.cores.generator, command));
    return started.at(-1);
  };
  try {
    const running = await startServer(
      tools,
      { ...work, processes: isFloor ? 2 : 1 },
      isFloor ? 'actory' : server,
    );
    started.push(running);
    return await flood(tools, work, running, launch, { ...times, hasSends: isFloor || server === 'actory' });
  } catch (error) {
    return { error: error.message };
  } finally {
    await Promise.all(started.map((one) => one.end()));
  }
}

async function flood(tools, work, { servers, redis }, launch, { seconds, warmup, hasSends }) {
  const [home, victim] = [servers[0], servers.at(-1)];
  const at = ({ port, pid }) => ['--port', port, '--pid', pid, '--attended'];
  const lasts = String(warmup + seconds + BEYOND_S);
  const attackers = launch(
    ...['nice', '-n', NICE, tools.load, 'flood', ...at(victim), ...work.attack, '--seconds', lasts],
  );
  const partners = [attackers.pid, victim.pid].filter((pid) => pid !== home.pid);
  const bystander = launch(
    ...[tools.load, 'bystander', ...at(home), ...work.bystander, '--partners', partners.join()],
    ...(redis ? ['--redis', String(redis.pid)] : []),
    ...['--warmup', String(warmup), '--seconds', String(seconds)],
  );
  await bystander.line(/^OPEN$/m, START_MS);
  attackers.tell('begin');
  await attackers.line(/^FLOODING$/m, START_MS);
  bystander.tell('begin');
  await sleep(warmup * 1000);
  if (hasSends) await get(home, '/begin');
  const report = JSON.parse(await bystander.line(/^\{.*\}$/m, RUN_MS));
  const sends = hasSends ? JSON.parse(await get(home, '/end')) : undefined;
  attackers.endInput();
  return {
    ...report,
    ...(sends && told(sends)),
    flood: JSON.parse(await attackers.line(/^\{.*\}$/m, START_MS)),
  };
}

/** The application's calls: what the server tells of them, in the report's terms. */
function told({ milliseconds, failures, stuck, stats }) {
  // The least that so many per cent do not exceed.
  const micros = (share) => 1000 * milliseconds[Math.max(0, Math.ceil(milliseconds.length * share) - 1)];
  return {
    send_p50_us: micros(0.5),
    send_p99_us: micros(0.99),
    send_max_us: micros(1),
    sends: milliseconds.length,
    sends_failed: Object.values(failures).reduce((sum, count) => sum + count, 0),
    sends_stuck: stuck,
    failures,
    stats,
  };
}

async function get({ port }, path) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(START_MS) });
  if (!response.ok) throw new Error(`GET ${path}: ${response.status}`);
  return response.text();
}
