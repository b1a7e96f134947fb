'use strict';

// Managers on servers that never listen.

const http = require('node:http');
const { WebSocketManager } = require('../..');

async function main() {
  for (let i = 0; i < 2; i += 1) {
    const manager = new WebSocketManager(http.createServer(), { auth: 'anonymous' });
    await manager.ready();
    await manager.close();
  }
}

main();
