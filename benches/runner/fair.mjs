// The works of `fair`: what a bystander and the application see while others flood the server.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { measureFlooded } from './flooded.mjs';

/** The servers that take any message; `floor` is an idle server of this package, beside another one that is flooded. */
const ALL = ['actory', 'floor', 'ws', 'uws'];
const OWN = ['actory', 'floor'];
const SHARED = { server: '0,1', generator: '0,1' };

/** Numbers of attackers at once. */
export const ATTACKERS = [1, 64, 256, 1000];
/** Of so many attackers the targets are. */
export const JUDGED = 256;
/** The ways of messages. */
export const WAYS = ['alone', 'redis'];

const inRooms = (count) => ['--path', `/api/websocket?user={n}&rooms=${count}`];

/**
 * title: in the table; attack: of the generator, with more flags of its; servers: those that can be attacked so; flags: more of the
 * server; bystander: more of the generator for the bystander.
 */
const KINDS = {
  pings: { title: 'empty pings', attack: ['pings'] },
  'full-pings': { title: 'pings of 125 B', attack: ['full-pings'] },
  pongs: { title: 'empty pongs', attack: ['pongs'] },
  fragments: { title: 'empty fragments without end', attack: ['fragments'] },
  halves: { title: 'messages in two fragments', attack: ['halves'] },
  texts: { title: 'the text `1`', attack: ['texts'] },
  'no-json': { title: 'the text `x`, no JSON', attack: ['no-json'] },
  echoes: { title: 'JSON of 512 B', attack: ['echoes'] },
  large: { title: 'JSON of 60 kB', attack: ['large'] },
  crumbs: { title: 'JSON of 512 B, a byte a write', attack: ['crumbs'] },
  waits: { title: 'seven texts `1`, then their echoes', attack: ['waits'] },
  binary: { title: 'binary of 16 KiB', attack: ['binary'] },
  slow: { title: 'JSON of 512 B, echoes not read', attack: ['echoes', '--deaf'] },
  rooms: {
    title: 'the text `1`, each in 50 rooms',
    attack: ['texts', ...inRooms(50)],
    servers: OWN,
    flags: ['--relay', 'rooms'],
    bystander: inRooms(1),
  },
  crowd: {
    title: 'silent, read nothing of 800 kB/s each',
    attack: ['silence', '--deaf', '--path', '/api/websocket?user={n}&crowd'],
    servers: OWN,
    flags: ['--relay', 'rooms'],
    bystander: inRooms(1),
  },
  es256: tokens('ES256', 'P-256', 'sha256', 64),
  es384: tokens('ES384', 'P-384', 'sha384', 96),
};

/** Upgrades by tokens whose signature has the right form and is wrong. The bystander has a good one. */
function tokens(alg, namedCurve, hash, length) {
  const base64 = (bytes) => Buffer.from(bytes).toString('base64url');
  const signed = [{ alg }, { sub: 'somebody', exp: 4_000_000_000 }]
    .map((part) => base64(JSON.stringify(part)))
    .join('.');
  const bearer = (signature) => ['--header', `Authorization: Bearer ${signed}.${signature}`];
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve });
  const good = sign(hash, Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  // Every attacker's is another: the eight digits of its number stand in it.
  const junk = base64(Buffer.concat([good.subarray(0, 12), randomBytes(length - 12)]));
  return {
    title: `upgrades, junk ${alg} tokens`,
    attack: ['upgrades', ...bearer(`${junk.slice(0, 32)}{n}${junk.slice(40)}`)],
    servers: OWN,
    flags: [`--public-key=${publicKey.export({ type: 'spki', format: 'pem' })}`],
    bystander: bearer(base64(good)),
  };
}

/** Names of the kinds of attack. */
export const KIND_NAMES = Object.keys(KINDS);

const millis = (micros) => (micros / 1000).toFixed(1);

function brief({ p50_us, p99_us, max_us, dead, unanswered, send_p99_us, sends_failed, flood }) {
  const lost = dead + unanswered > 0 ? ` (${dead} dead, ${unanswered} unanswered)` : '';
  const failed = sends_failed > 0 ? ` (${sends_failed} failed)` : '';
  const sends = send_p99_us === undefined ? '' : `; sendToUser p99 ${millis(send_p99_us)}${failed}`;
  const rate = `${Math.round(flood.messages / flood.seconds)}/s, ${(flood.bytes / flood.seconds / 1e6).toFixed(0)} MB/s`;
  return (
    `bystander p50 ${millis(p50_us)}, p99 ${millis(p99_us)}, max ${millis(max_us)} ms${lost}${sends}; ` +
    `flood ${rate}, ${flood.ended} ended, ${flood.refused} refused`
  );
}

/** A work for each kind, number of attackers and way. */
export function fairWorks(kinds, attackers, ways) {
  return ways.flatMap((way) =>
    kinds.flatMap((kind) =>
      attackers.map((count) => ({
        name: `fair ${kind} ${count} ${way}`,
        ...{ fair: true, kind, attackers: count, redis: way === 'redis' },
        title: KINDS[kind].title,
        servers: way === 'redis' ? OWN : (KINDS[kind].servers ?? ALL),
        cores: SHARED,
        mode: 'fair',
        flags: KINDS[kind].flags,
        attack: ['--attack', ...KINDS[kind].attack, '--connections', String(count)],
        bystander: ['--connections', '4', '--rate', '400', ...(KINDS[kind].bystander ?? [])],
        measure: measureFlooded,
        brief,
      })),
    ),
  );
}
