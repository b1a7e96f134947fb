'use strict';

const { totalmem } = require('node:os');

/** Bytes of memory that this process may use: what its cgroup allows, or the machine has. */
function availableMemory() {
  const total = totalmem();
  const allowed = process.constrainedMemory?.() ?? 0;
  return allowed > 0 && allowed < total ? allowed : total;
}

module.exports = { availableMemory };
