'use strict';

// Makes a manager and lets go of it: `null` for one without a server. Ends by itself, and says so.
const http = require('node:http');
const { WebSocketManager } = require('../..');

const server = process.env.SERVER === 'null' ? null : http.createServer();
const manager = new WebSocketManager(server, { auth: 'anonymous', redis: false });
manager.on('message', () => {});
manager.sendToUser('ada', 'hello').then(({ status }) => console.log(status));
