// The bytes that each version writes to Redis are those of src/tests/versions/golden.json, which Rust's tests go by.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { createClient } from 'redis';
import { root } from '../../scripts/run.mjs';
import { build } from './build.mjs';
import { VERSIONS } from './versions.mjs';

globalThis.afterEach = afterEach; // The support of jest's tests takes it from there.
const { closeAfterwards } = (await import('../support/cleanup.js')).default;
const { Inbox } = (await import('../support/client.js')).default;
const { startRedis } = (await import('../support/redis.js')).default;
const { Peer } = await import('./peer.mjs');

const timeout = 60_000;
const formats = JSON.parse(readFileSync(join(root, 'src/tests/versions/golden.json')));
const plain = formats.find(({ format }) => format === 1);

const bytesOf = ({ payload, payloadHex }) =>
  Buffer.from(payload ?? payloadHex, payload === undefined ? 'hex' : 'utf8');

/** The question's number and asker are not the file's. */
const ASKER = /"id":\d+,"node":"([\w-]{12})"/;

/** Has one of two servers write an envelope: `user` with that routing, or `shared`. */
async function write({ channel, means }, { user, shared, redis }) {
  const [kind, name] = channel.split(':');
  const data =
    means.text ?? (means.binaryHex === undefined ? undefined : Buffer.from(means.binaryHex, 'hex'));
  if (data !== undefined) {
    if (kind === 'all') await user.do('broadcast', data);
    else await user.do(kind === 'user' ? 'sendToUser' : 'sendToRoom', name, data);
  } else if (means.shared) {
    await shared.do('sendToUser', means.shared.user, means.shared.text);
  } else if (means.disconnect) {
    const { user: whom, code, reason } = means.disconnect;
    await (kind === 'control' ? shared : user).do('disconnectUser', whom, code, reason);
  } else if (means.count) {
    // The answer is not waited for: the listener gives none.
    user.do('countConnections', means.count.user ?? undefined).catch(() => {});
  } else {
    const { id, connections } = means.counted;
    // Both answer, in whatever order: both with the same number.
    for (const peer of [user, shared]) {
      for (let n = 0; n < connections; n += 1) await peer.connect('user=ada');
    }
    const question = { v: 1, op: 'count', id, node: name, userId: null };
    await redis.command('PUBLISH', 'actory:control', JSON.stringify(question));
  }
}

const folders = new Map();

before(async () => {
  for (const { hash } of VERSIONS) folders.set(hash, await build(hash));
});

test('each version is listed with the newest format that it writes', () => {
  const listed = formats.flatMap(({ versions }) => versions).sort();
  assert.deepEqual(listed, VERSIONS.map(({ hash }) => hash).sort());
});

for (const { name, hash } of [...VERSIONS, { name: 'this version' }]) {
  test(`${name} writes the bytes in golden.json`, { timeout }, async () => {
    const redis = await startRedis();
    const folder = hash === undefined ? root : folders.get(hash);
    const start = (routing) => Peer.start(folder, { redis: { url: redis.url, routing } });
    const [user, shared] = [await start('user'), await start('shared')];
    const listener = createClient({ url: redis.url });
    await listener.connect();
    closeAfterwards(() => listener.destroy());
    const inbox = new Inbox();
    const channels = new Set(plain.envelopes.map(({ channel }) => `actory:${channel}`));
    for (const channel of channels) {
      await listener.subscribe(channel, (payload, on) => inbox.put([on.toString(), payload]), true);
    }
    for (const envelope of plain.envelopes) {
      await write(envelope, { user, shared, redis });
      // The question comes before the two answers.
      if (envelope.means.counted) await inbox.next();
      let [on, payload] = await inbox.next();
      if (envelope.means.counted) assert.deepEqual(await inbox.next(), [on, payload]);
      const expected = bytesOf(envelope);
      if (envelope.means.count) {
        assert.match(payload.toString(), ASKER);
        payload = Buffer.from(payload.toString().replace(ASKER, ASKER.exec(expected)[0]));
      }
      assert.deepEqual([on, payload.toString()], [`actory:${envelope.channel}`, expected.toString()]);
      assert.deepEqual(payload, expected);
    }
  });
}
