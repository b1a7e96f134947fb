'use strict';

// Two threads at a time, each with a server of its own.

const { once } = require('node:events');
const { join } = require('node:path');
const { Worker } = require('node:worker_threads');

const workers = [1, 2].map(() => new Worker(join(__dirname, 'require.cjs')));
Promise.all(workers.map((worker) => once(worker, 'exit'))).then((exits) => {
  if (exits.some(([code]) => code !== 0)) process.exitCode = 1;
});
