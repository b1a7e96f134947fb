'use strict';

const nothing = () => {};

/** What `work` answers or throws, as a promise that may be left alone: its rejection is never an unhandled one. */
function promised(work) {
  let promise;
  try {
    promise = Promise.resolve(work());
  } catch (error) {
    promise = Promise.reject(error);
  }
  promise.then(undefined, nothing);
  return promise;
}

module.exports = { promised };
