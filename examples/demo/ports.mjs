import { once } from 'node:events';
import { createServer } from 'node:net';

/** Something that is wrong with the machine or the environment, in words for whoever starts the demo. */
export class Unfit extends Error {}

/** Ports from an environment variable, one or several with commas between; 0 is any that is free. */
export function portsFrom(name, defaults) {
  const text = process.env[name] || defaults.join(',');
  const ports = text.split(',').map(Number);
  const fit = /^\d+(,\d+)*$/.test(text) && ports.every((port) => port <= 65_535);
  if (fit && ports.length === defaults.length) return ports;
  throw new Unfit(`${name} must be like ${defaults.join(',')}; got ${JSON.stringify(text)}`);
}

/**
 * Makes sure that all of these addresses, `{ host, port }`, are free. Answers with them; a port that was 0 is one now.
 *
 * @throws {Unfit} if one is not
 */
export async function claim(addresses) {
  const servers = [];
  try {
    // All held at a time, so that no two get the same.
    for (const { host, port } of addresses) {
      const server = createServer();
      server.listen(port, host);
      await once(server, 'listening').catch(({ code, message }) => {
        const why = code === 'EADDRINUSE' ? 'is taken' : `of ${host} can't be used (${message})`;
        throw new Unfit(
          `Port ${port} ${why}. Others: PORT=3100 SERVER_PORTS=3101,3102 npm run demo:cluster; 0 is any that is free`,
        );
      });
      servers.push(server);
    }
    return addresses.map(({ host }, at) => ({ host, port: servers[at].address().port }));
  } finally {
    await Promise.all(servers.map((server) => once(server.close(), 'close')));
  }
}
