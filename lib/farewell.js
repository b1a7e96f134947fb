'use strict';

const { clearTimeout, setTimeout } = require('node:timers'); // not the global ones, which tests fake

/** Time for a socket to pass on the answer of a refused request, in milliseconds. As the addon's `LINGER`. */
const REFUSED_MS = 300;

const nothing = () => {};

/** Writes a last answer to a socket of Node's, and closes it: once the answer is out, or, if the client doesn't take it, soon. */
function farewell(socket, answer) {
  socket.on('error', nothing);
  const timer = setTimeout(() => socket.destroy(), REFUSED_MS);
  socket.on('close', () => clearTimeout(timer));
  socket.end(answer, () => socket.destroy());
}

module.exports = { farewell, REFUSED_MS };
