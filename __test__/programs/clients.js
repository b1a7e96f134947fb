'use strict';

// COUNT clients of the server at URL, on a thread that it doesn't share. Prints "open" when all are; for each line that it
// reads, "alive" when the server has answered a ping of each; and "closed" with the code when one ends.

const { once } = require('node:events');
const { createInterface } = require('node:readline');
const WebSocket = require('ws');

const { COUNT, URL } = process.env;
const clients = Array.from(
  { length: Number(COUNT) },
  () => new WebSocket(URL, { rejectUnauthorized: false }),
);
for (const client of clients) client.on('close', (code) => console.log(`closed ${code}`));

Promise.all(clients.map((client) => once(client, 'open'))).then(() => {
  console.log('open');
  createInterface({ input: process.stdin }).on('line', async () => {
    const answered = clients.map((client) => once(client, 'pong'));
    for (const client of clients) client.ping();
    await Promise.all(answered);
    console.log('alive');
  });
});
