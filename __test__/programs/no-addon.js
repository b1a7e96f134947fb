'use strict';

// The error of loading the package where there is no addon.

const assert = require('node:assert');
const Module = require('node:module');

const load = Module._load;
Module._load = function refuse(request, ...rest) {
  if (/\.node$|^@actory\/websocket-/.test(request)) {
    throw new Error(`Cannot find module '${request}'\nRequire stack: …`);
  }
  return load.call(this, request, ...rest);
};

assert.throws(
  () => require('../..'),
  (error) => {
    assert.equal(error.code, 'ERR_NATIVE_MISSING');
    assert.match(error.message, new RegExp(`${process.platform}-${process.arch}`));
    assert.match(error.message, /npm run build/);
    assert.match(error.cause.message, /Cannot find module/);
    return true;
  },
);
