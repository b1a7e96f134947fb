'use strict';

// Managers on servers that never listen, which say so of Redis unless REDIS is 'unsaid'.

const http = require('node:http');
const { WebSocketManager } = require('../..');

const options = { auth: 'anonymous', ...(process.env.REDIS !== 'unsaid' && { redis: false }) };

async function main() {
  for (let i = 0; i < 2; i += 1) {
    const manager = new WebSocketManager(http.createServer(), options);
    await manager.ready();
    await manager.close();
  }
}

main();
