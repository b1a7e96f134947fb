// The works: each says how the server is started, how it is driven, and on which cores.

export const SERVERS = ['floor', 'ws', 'uws', 'bun', 'actory', 'guide', 'socketio', 'without'];

/** A run in which everything else on the machine took more than this share of a core is disturbed. */
export const DISTURBED = 0.1;

const WITH_JAVASCRIPT = ['ws', 'uws', 'bun', 'actory'];
const ALONE = ['floor', ...WITH_JAVASCRIPT];
const WITH_REDIS = ['actory', 'guide', 'socketio'];
/** This package, the second time as it is by default: nothing is kept. */
const WITH_HISTORY = ['actory', 'without'];
const APART = { server: '0', generator: '1' };
const SHARED = { server: '0,1', generator: '0,1' };

const micros = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(1));
const disturbance = (run) =>
  run.others_cpu > DISTURBED ? ` (disturbed: ${run.others_cpu.toFixed(2)} of a core)` : '';
const perMessage = (run) =>
  `${Math.round(run.throughput)}/s, ${micros(run.cpu_us_per_message)} us CPU, p99 ${Math.round(run.p99_us)} us` +
  disturbance(run);
const ofTheSeven = (run) =>
  `${Math.round(run.throughput)}/s, the seven ${micros(run.bystanders_us_per_message)} us CPU, ` +
  `${run.bystanders_cpu.toFixed(4)} of a core, idle ${run.bystanders_idle_cpu.toFixed(4)}${disturbance(run)}`;

const SOCKET_IO = '/socket.io/?EIO=4&transport=websocket';
/** Each connection is a user of its own: how the generator says so to each server. */
const USERS = {
  actory: ['--path', '/api/websocket?user={n}'],
  without: ['--path', '/api/websocket?user={n}'],
  guide: ['--path', '/?user={n}'],
  socketio: ['--path', `${SOCKET_IO}&user={n}`, '--socket-io'],
};
/** The works alone: Socket.IO has a protocol of its own. */
const CLIENTS = { socketio: ['--path', SOCKET_IO, '--socket-io'] };

const relay = (inFlight) => ({
  name: `relay-${inFlight}`,
  title: `through Redis and back, 128 B, ${inFlight} in flight, 200 connections`,
  servers: WITH_REDIS,
  cores: APART,
  redis: true,
  mode: 'relay',
  client: USERS,
  load: ['echo', '--size', '128', '--in-flight', String(inFlight), '--connections', '200'],
  cost: 'cpu_us_per_message',
  brief: perMessage,
  timed: true,
});

/** The same with a history of each user, and without one, by turns. */
const history = (name, connections, inFlight) => ({
  ...relay(inFlight),
  name: `${name}-${inFlight}`,
  title: `${connections === 1 ? 'one connection' : `${connections} connections`}, ${inFlight} in flight, with a history`,
  servers: WITH_HISTORY,
  own: { actory: ['--history'] },
  load: ['echo', '--size', '128', '--in-flight', String(inFlight), '--connections', String(connections)],
  brief: (run) => `${perMessage(run)}, Redis ${micros(run.redis_us_per_message)} us`,
  inTurns: true,
  // Latencies over Redis are longer, and no message may take a whole turn.
  turnS: 1,
});

/** The same at so many messages a second, however long they take: a Redis that takes longer can't make batches smaller. */
const paced = (rate) => ({
  ...history('history', 200, 1),
  name: `paced-${rate / 1000}`,
  title: `200 connections, ${rate / 1000},000 messages a second, with a history`,
  load: ['blocked', '--size', '128', '--rate', String(rate), '--connections', '200'],
});

/**
 * name: for `--only`; title: in the table; servers: those that can do it; cores: for `taskset`;
 * mode, flags: of the server; own: more of those, by server; node: flags of Node itself, where the server runs on it; load: of the generator; client: more of
 * those, by server; cost: the field that ratios are made of; brief: a run in a line; timed: takes --seconds and --warmup;
 * inTurns: all servers run at once and are driven by turns, of turnS seconds; once: not repeated; redis: a Redis runs on the generator's core; processes: of the server, of which the first gets the load.
 */
export const WORKS = [
  {
    name: 'echo-64',
    title: 'echo 64 B, 16 in flight, 50 connections',
    servers: [...ALONE, 'socketio'],
    client: CLIENTS,
    cores: APART,
    mode: 'echo',
    load: ['echo', '--size', '64', '--in-flight', '16', '--connections', '50', '--awake'],
    cost: 'cpu_us_per_message',
    brief: perMessage,
    timed: true,
    inTurns: true,
  },
  {
    name: 'echo-512',
    title: 'echo 512 B, 1 in flight, 500 connections',
    servers: ALONE,
    cores: APART,
    mode: 'echo',
    load: ['echo', '--size', '512', '--in-flight', '1', '--connections', '500', '--awake'],
    cost: 'cpu_us_per_message',
    brief: perMessage,
    timed: true,
    inTurns: true,
  },
  {
    name: 'js-echo',
    title: 'echo 64 B x 16 by a JavaScript handler',
    servers: WITH_JAVASCRIPT,
    cores: APART,
    mode: 'js-echo',
    load: ['echo', '--size', '64', '--in-flight', '16', '--connections', '50', '--awake'],
    cost: 'cpu_us_per_message',
    brief: perMessage,
    timed: true,
  },
  {
    name: 'fanout',
    title: 'fan-out of 64 B to 1,000, 2 in flight (per delivery)',
    servers: [...ALONE, 'socketio'],
    client: CLIENTS,
    cores: APART,
    mode: 'fanout',
    load: [
      'fanout',
      '--size',
      '64',
      '--in-flight',
      '2',
      '--connections',
      '1000',
      '--settle',
      '0.3',
      '--awake',
    ],
    cost: 'cpu_us_per_message',
    brief: perMessage,
    timed: true,
    inTurns: true,
  },
  {
    name: 'handshakes',
    title: 'connect, upgrade, close; 32 at a time',
    servers: ALONE,
    cores: APART,
    mode: 'handshakes',
    load: ['handshakes', '--connections', '32'],
    cost: 'cpu_us_per_message',
    brief: perMessage,
    timed: true,
  },
  {
    name: 'blocked',
    title: 'echo, 5,000/s, JavaScript busy 200 of 250 ms',
    servers: [...ALONE, 'socketio'],
    client: CLIENTS,
    cores: SHARED,
    mode: 'blocked',
    flags: ['--block-ms', '200', '--period-ms', '250'],
    load: ['blocked', '--rate', '5000', '--connections', '100'],
    // The server's CPU time is its JavaScript's: nothing to compare.
    cost: null,
    brief: (run) => `p50 ${Math.round(run.p50_us)} us, p99 ${Math.round(run.p99_us)} us`,
    timed: true,
  },
  {
    name: 'idle',
    title: 'idle, 6,000 to 18,000 connections (per connection)',
    servers: ALONE,
    cores: APART,
    mode: 'idle',
    // V8's young generation grows to 16 MB and shrinks again as it likes; kept at 1 MB it stays out of the slope.
    node: ['--max-semi-space-size=1'],
    load: ['idle'],
    cost: 'bytes_per_connection',
    brief: (run) => `${Math.round(run.bytes_per_connection)} bytes a connection`,
  },
  {
    name: 'hold',
    title: 'JavaScript blocked for 60 s, 1,000 connections, heartbeat 1 s',
    servers: ['actory'],
    cores: SHARED,
    mode: 'hold',
    flags: ['--heartbeat-ms', '1000'],
    load: ['hold', '--connections', '1000', '--block-seconds', '60'],
    cost: null,
    brief: (run) => `${run.alive} of ${run.connections} alive after ${run.pings} pings`,
    once: true,
  },
  relay(1),
  relay(8),
  history('history', 200, 1),
  history('history', 200, 8),
  paced(5000),
  paced(20_000),
  paced(50_000),
  history('batch', 1, 1),
  history('batch', 1, 8),
  history('batch', 1, 64),
  {
    ...relay(1),
    // V8 tidies up once a process has been quiet for some seconds, which would be taken for the messages' doing.
    node: ['--no-memory-reducer'],
    load: [...relay(1).load, '--settle', '3'],
    name: 'eight',
    title: 'eight servers, all users on one: the other seven (per message)',
    processes: 8,
    cost: 'bystanders_us_per_message',
    brief: ofTheSeven,
  },
];
