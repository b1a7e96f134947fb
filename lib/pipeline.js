'use strict';

const { dueAnswerOf } = require('./node-internals');

const nothing = () => {};

/**
 * True if the answer to an earlier request has yet to go out on the socket of an upgrade. Node emits 'upgrade' all the same
 * for a client that doesn't wait (pipelining), and answers the earlier request on the socket whoever has it then.
 */
function isAnswerDue(req, socket) {
  const due = dueAnswerOf(socket);
  return due !== undefined && due.req !== req;
}

/** Does `work` once the answers to earlier requests are out; never, if the connection ends with one of them. */
function afterAnswers(req, socket, work) {
  if (!isAnswerDue(req, socket)) {
    work();
    return;
  }
  // Node sees to neither on a socket that was upgraded.
  socket.on('error', nothing);
  const drained = () => dueAnswerOf(socket)?.emit('drain');
  socket.on('drain', drained);

  function next() {
    if (!socket.writable) return;
    // Node's own listener, which came first, has made way for the answer that is due next.
    if (isAnswerDue(req, socket)) {
      dueAnswerOf(socket).once('finish', next);
      return;
    }
    socket.removeListener('drain', drained);
    socket.removeListener('error', nothing);
    // Node's for a connection that waits for a request.
    socket.setTimeout?.(0);
    work();
  }
  dueAnswerOf(socket).once('finish', next);
}

module.exports = { afterAnswers, isAnswerDue };
