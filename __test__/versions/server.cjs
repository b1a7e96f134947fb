'use strict';

// A server of the version of the package that is in a folder: does what it is told, and says what came of it.

const { createServer } = require('node:http');
const { join } = require('node:path');

const { folder, port, options } = JSON.parse(process.argv[2]);
const { WebSocketManager } = require(join(folder, 'index.js'));

const server = createServer();
let manager;
let sending = false;
let number = 0;

/** Tasks beyond the manager's own methods. */
const tasks = {
  /** Answers each message as the README's ten minutes do: it is for another user. */
  serveReadme() {
    manager.on('connection', (connection) => connection.send({ you: connection.userId, server: 'here' }));
    manager.on('message', (connection, data) => {
      const { to, text } = JSON.parse(data);
      return manager.sendToUser(to, { from: connection.userId, text });
    });
  },
  /** Sends numbered messages to a user, one after the other, until it is told to stop. Answers with each one's delivery. */
  async sendOn(user) {
    sending = true;
    const deliveries = [];
    for (number = 0; sending; number += 1) deliveries.push(await manager.sendToUser(user, { n: number }));
    return deliveries;
  },
  /** The number of the last of those. */
  reached: () => number,
  stop() {
    sending = false;
  },
  async end() {
    await manager.close({ drainMs: 0 });
    server.close();
  },
};

process.on('message', async ({ id, task, args }) => {
  try {
    const value = await (tasks[task] ? tasks[task](...args) : manager[task](...args));
    process.send({ type: 'done', id, value });
  } catch ({ code, message }) {
    process.send({ type: 'done', id, error: { code, message } });
  }
});
process.on('disconnect', () => process.exit());

try {
  manager = new WebSocketManager(server, {
    auth: {
      authenticate({ url }) {
        const query = new URL(url, 'http://localhost').searchParams;
        return { userId: query.get('user'), rooms: query.getAll('room') };
      },
    },
    ...options,
  });
  manager.on('error', (error) => process.send({ type: 'problem', text: String(error) }));
  server.listen(port, '127.0.0.1', () => process.send({ type: 'up', port: server.address().port }));
} catch ({ code, message }) {
  process.send({ type: 'refused', code, message });
  process.disconnect();
}
