// The very commands of this package: it publishes through a proxy that writes down what it sends to Redis.
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { WebSocketManager } from '../../index.mjs';
import { decode } from './resp.mjs';

/** Stands for the user in the captured commands. All users' names are as long, or the lengths before them would be wrong. */
const USER = 'user0000';
/** The message is as long as that of the works `relay-*`. */
const MESSAGE = 'm'.repeat(126);

/** Name of the nth user. */
export const userName = (n) => `user${String(n).padStart(4, '0')}`;

/**
 * Publishes once without and once with a history: `{ publish, append }`, each a function that encodes the command for a user,
 * `script`, the text that `append` runs, `words`, those of `append`, and `channels`, on which every server listens.
 */
export async function captureCommands(port, history) {
  const sent = [];
  const sockets = new Set();
  const proxy = createServer((client) => {
    const redis = connect({ host: '127.0.0.1', port, noDelay: true });
    for (const socket of [client, redis]) {
      sockets.add(socket);
      // A broken end ends the other: `pipe` does that for one that ends in order.
      socket.on('error', () => redis.destroy(client.destroy()));
    }
    client.pipe(redis).pipe(client);
    let rest = Buffer.alloc(0);
    client.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      for (let found = decode(rest); found; found = decode(rest)) {
        sent.push({ words: found[0].map(String), bytes: Buffer.from(rest.subarray(0, found[1])) });
        rest = rest.subarray(found[1]);
        if (rest.length === 0) break;
      }
    });
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const manager = new WebSocketManager(createHttpServer(), {
    auth: 'anonymous',
    threads: 1,
    redis: { url: `redis://127.0.0.1:${proxy.address().port}` },
    history,
  });
  try {
    await manager.ready();
    await manager.sendToUser(USER, MESSAGE, { history: false });
    // The first message with a history may make it anew; the second is like all others.
    await manager.sendToUser(USER, MESSAGE);
    await manager.sendToUser(USER, MESSAGE);
  } finally {
    await manager.close();
    proxy.close();
    for (const socket of sockets) socket.destroy();
  }
  return chosen(sent);
}

function chosen(sent) {
  const last = (what, test) => {
    const found = sent.findLast(({ words }) => test(words));
    if (!found) throw new Error(`this package sent no ${what}`);
    return found;
  };
  const isForUser = (words) => words.some((word) => word.includes(USER));
  const publish = last('PUBLISH', (words) => words[0] === 'PUBLISH' && isForUser(words));
  const append = last('EVALSHA that publishes', (words) => words[0] === 'EVALSHA' && isForUser(words));
  // The first of its scripts is the one that publishes.
  const script = sent.find(({ words }) => words[0] === 'SCRIPT' && words[1] === 'LOAD');
  const channels = sent
    .filter(({ words }) => words[0] === 'SUBSCRIBE')
    .flatMap(({ words }) => words.slice(1))
    .filter((channel) => !channel.includes(USER));
  return {
    publish: forUsers(publish.bytes),
    append: forUsers(append.bytes),
    script: script.words[2],
    words: append.words,
    channels: [...new Set(channels)],
    channelOf: (user) => publish.words[1].replaceAll(USER, user),
  };
}

/** The same command for any user. */
function forUsers(bytes) {
  const text = bytes.toString('latin1');
  return (user) => Buffer.from(text.replaceAll(USER, user), 'latin1');
}
