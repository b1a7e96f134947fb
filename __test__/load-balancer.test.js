'use strict';

// deploy/nginx.conf and deploy/haproxy.cfg, in the real nginx and HAProxy, in front of two servers.

const http = require('node:http');
const { once } = require('node:events');
const { startBalancer } = require('./support/balancer');
const { closeAfterwards } = require('./support/cleanup');
const { Client, RawClient, refused, upgradeRequest } = require('./support/client');
const { program } = require('./support/program');

/** A server in a process of its own. */
async function start(name, env) {
  const { child, line, exit } = program('behind-balancer.js', { env: { NAME: name, ...env } });
  return { name, port: Number(await line()), kill: (signal) => child.kill(signal), exit };
}

/** A browser, as a load balancer sees it: an address, and a cookie, once there is one. */
class Browser {
  #balancer;
  #address;
  cookie;

  constructor(balancer, address = '127.0.0.1') {
    this.#balancer = balancer;
    this.#address = address;
  }

  #options(headers) {
    const cookie = this.cookie === undefined ? {} : { Cookie: this.cookie };
    return { localAddress: this.#address, headers: { ...cookie, ...headers } };
  }

  /** Does what a browser does with an answer. */
  #keep({ headers }) {
    for (const text of headers['set-cookie'] ?? []) [this.cookie] = text.split(';');
  }

  /** Asks for a page. Answers with its text. */
  async get(path = '/') {
    const request = http.get({
      host: '127.0.0.1',
      port: this.#balancer,
      path,
      agent: false,
      ...this.#options(),
    });
    const [response] = await once(request, 'response');
    this.#keep(response);
    return Buffer.concat(await response.toArray()).toString();
  }

  /** Tries to open a WebSocket. Answers with the status and the error code of the refusal. */
  async refused() {
    const url = `ws://127.0.0.1:${this.#balancer}/api/websocket`;
    const { status, body } = await refused(url, this.#options());
    return { status, code: body.code };
  }

  /** Opens a WebSocket. Answers with its client and what the server said: its name, and the browser's address. */
  async connect(headers) {
    const client = new Client(`ws://127.0.0.1:${this.#balancer}/api/websocket`, this.#options(headers));
    client.socket.on('upgrade', (response) => this.#keep(response));
    await once(client.socket, 'open');
    return { client, ...(await client.nextJson()) };
  }
}

/** Two servers and the load balancer in front of them. */
async function stage(name, env) {
  const servers = await Promise.all([start('one', env), start('two', env)]);
  const { port, close } = await startBalancer(
    name,
    servers.map((server) => server.port),
  );
  closeAfterwards(close);
  return {
    browser: (address) => new Browser(port, address),
    ofName: (name) => servers.find((server) => server.name === name),
  };
}

describe.each(['nginx', 'haproxy'])('behind %s', (name) => {
  test('a WebSocket passes, as do pages', async () => {
    const { browser } = await stage(name);
    const { client, server } = await browser().connect();
    expect(['one', 'two']).toContain(server);
    client.send('x'.repeat(100_000));
    expect(await client.next()).toHaveLength(100_000);
    expect(await client.close(1000, 'done')).toEqual({ code: 1000, reason: 'done' });
    expect(['one', 'two']).toContain(await browser().get());
  });

  test('a browser returns to the server that it was on', async () => {
    const { browser } = await stage(name);
    for (const first of [browser(), browser(), browser(), browser()]) {
      const server = await first.get();
      const { cookie } = first;
      expect(cookie).toMatch(/^route=/);
      const servers = [
        (await first.connect()).server,
        (await first.connect()).server,
        await first.get('/page'),
      ];
      expect(servers).toEqual([server, server, server]);
      expect(first.cookie).toBe(cookie);
    }
    // One that begins with a WebSocket, too.
    const other = browser();
    const { server } = await other.connect();
    expect([(await other.connect()).server, await other.get()]).toEqual([server, server]);
  });

  test('two browsers at one address land on two servers, sooner or later', async () => {
    const { browser } = await stage(name);
    const met = new Set();
    // In vain once in 2^63.
    for (let i = 0; i < 64 && met.size < 2; i += 1) met.add((await browser().connect()).server);
    expect([...met].sort()).toEqual(['one', 'two']);
  });

  test('a connection has the address of its client, whatever that claims', async () => {
    const { browser } = await stage(name);
    for (const address of ['127.0.0.1', '127.0.0.2', '127.0.0.3']) {
      const claim = { 'X-Forwarded-For': '192.0.2.1', Forwarded: 'for=192.0.2.1', 'X-Real-IP': '192.0.2.1' };
      expect((await browser(address).connect(claim)).address).toBe(address);
      expect((await browser(address).connect()).address).toBe(address);
    }
  });

  test("where a server dies, its browsers' next connections are the other one's", async () => {
    const { browser, ofName } = await stage(name);
    const first = browser();
    const { client, server } = await first.connect();
    const { cookie } = first;
    ofName(server).kill('SIGKILL');
    expect((await client.closed).code).toBe(1006);
    const other = server === 'one' ? 'two' : 'one';
    for (let i = 0; i < 4; i += 1) {
      expect([(await first.connect()).server, await first.get()]).toEqual([other, other]);
    }
    // nginx' cookie is a value that is hashed, HAProxy's the name of a server.
    expect(first.cookie === cookie).toBe(name === 'nginx');
  });

  test("a server that drains says 1012, and the next connection is the other one's while it still does", async () => {
    const { browser, ofName } = await stage(name);
    const first = browser();
    const { client, server } = await first.connect();
    const draining = ofName(server);
    // Never answers the server's close frame, so that draining takes its time.
    const mute = new RawClient({ host: '127.0.0.1', port: draining.port });
    mute.write(upgradeRequest());
    await mute.said('101 ');
    draining.kill('SIGTERM');
    expect((await client.closed).code).toBe(1012);
    const other = server === 'one' ? 'two' : 'one';
    expect((await first.connect()).server).toBe(other);
    mute.socket.destroy();
    expect((await draining.exit).code).toBe(0);
    expect([(await first.connect()).server, await first.get()]).toEqual([other, other]);
  });

  test('a full server passes upgrades on, and when all are full they get its 503, while pages are served', async () => {
    const { browser } = await stage(name, { MAX_CONNECTIONS: '1' });
    const first = browser();
    const own = await first.get();
    const met = [(await first.connect()).server, (await first.connect()).server];
    expect(met).toEqual([own, own === 'one' ? 'two' : 'one']);
    for (const each of [first, browser(), browser(), browser()]) {
      expect(await each.refused()).toEqual({ status: 503, code: 'ERR_TOO_MANY_CONNECTIONS' });
      expect(['one', 'two']).toContain(await each.get());
    }
  });
});
