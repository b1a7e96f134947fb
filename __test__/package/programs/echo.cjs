'use strict';

// A user's first server: a manager, a client that gets its message back, and an orderly end.

const assert = require('node:assert');
const { once } = require('node:events');
const { createServer } = require('node:http');
const WebSocket = require('ws');

async function echo({ WebSocketManager, getWebSocketManager }) {
  const server = createServer();
  const manager = new WebSocketManager(server, { auth: 'anonymous', relay: false, redis: false });
  assert.equal(getWebSocketManager(), manager);
  manager.on('message', (connection, data) => connection.send(data));
  await once(server.listen(0, '127.0.0.1'), 'listening');

  const client = new WebSocket(`ws://127.0.0.1:${server.address().port}/api/websocket`);
  await once(client, 'open');
  client.send('a message');
  const [data] = await once(client, 'message');
  assert.equal(String(data), 'a message');

  const closed = once(client, 'close');
  server.close();
  await manager.close();
  assert.equal((await closed)[0], 1001);
}

module.exports = { echo };
