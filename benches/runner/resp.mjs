// One raw connection to Redis: bytes go out as they are, so that a batch is one write; answers are read one by one.
import { once } from 'node:events';
import { connect as dial } from 'node:net';

const CR = 13;
const [STATUS, ERROR, INTEGER, BULK, ARRAY] = Buffer.from('+-:$*');

/** A command as it goes over the wire. */
export function encode(...words) {
  const parts = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = Buffer.from(word);
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

/** Reads the value that begins at `at`: `[value, where the next begins]`, or nothing while it is not whole. */
export function decode(bytes, at = 0) {
  const end = bytes.indexOf(CR, at);
  if (end < 0 || end + 2 > bytes.length) return undefined;
  const head = bytes.latin1Slice(at + 1, end);
  const next = end + 2;
  switch (bytes[at]) {
    case STATUS:
      return [head, next];
    case ERROR:
      return [new Error(head), next];
    case INTEGER:
      return [Number(head), next];
    case BULK: {
      const length = Number(head);
      if (length < 0) return [null, next];
      return next + length + 2 > bytes.length
        ? undefined
        : [bytes.subarray(next, next + length), next + length + 2];
    }
    case ARRAY:
      return decodeArray(bytes, next, Number(head));
    default:
      throw new Error(`no value of Redis begins with ${bytes[at]}`);
  }
}

function decodeArray(bytes, from, count) {
  const values = [];
  let next = from;
  while (values.length < count) {
    const found = decode(bytes, next);
    if (!found) return undefined;
    values.push(found[0]);
    next = found[1];
  }
  return [values, next];
}

/** Connects to a Redis of this machine. */
export async function connect(port) {
  const socket = dial({ host: '127.0.0.1', port, noDelay: true });
  await once(socket, 'connect');
  let [rest, answers, waiting, broken] = [Buffer.alloc(0), [], undefined, undefined];
  const settle = () => {
    if (waiting && (broken || answers.length >= waiting.count)) {
      const { count, resolve, reject } = waiting;
      waiting = undefined;
      if (broken) reject(broken);
      else resolve(answers.splice(0, count));
    }
  };
  const fail = (error) => {
    broken ??= error;
    settle();
  };
  socket.on('data', (bytes) => {
    const all = rest.length > 0 ? Buffer.concat([rest, bytes]) : bytes;
    let at = 0;
    for (let found = decode(all); found; found = decode(all, at)) {
      if (found[0] instanceof Error) fail(found[0]);
      answers.push(found[0]);
      at = found[1];
      if (at === all.length) break;
    }
    rest = all.subarray(at);
    settle();
  });
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('Redis ended the connection')));
  /** Sends encoded commands, as many as `count`, and waits for their answers. An error among them rejects. */
  const send = (bytes, count) =>
    new Promise((resolve, reject) => {
      waiting = { count, resolve, reject };
      socket.write(bytes);
      settle();
    });
  return {
    send,
    command: async (...words) => (await send(encode(...words), 1))[0],
    /** Subscribes, and drops what comes. */
    listen: async (channels) => {
      await send(encode('SUBSCRIBE', ...channels), channels.length);
      socket.removeAllListeners('data').on('data', () => {});
    },
    end: () => socket.destroy(),
  };
}
