// One module for both kinds of importers, with the names that the types promise.

import assert from 'node:assert';
import { createRequire } from 'node:module';
import * as whole from '@actory/websocket';
import { CloseCode, closeAdvice, ErrorCode, getWebSocketManager, WebSocketManager } from '@actory/websocket';
import * as browser from '@actory/websocket/browser.mjs';

const required = createRequire(import.meta.url)('@actory/websocket');

assert.deepEqual(Object.keys(whole).sort(), Object.keys(required).sort());
assert.equal(required.WebSocketManager, WebSocketManager);
assert.equal(required.getWebSocketManager, getWebSocketManager);
assert.equal(CloseCode.SLOW_CONSUMER, 4004);
assert.equal(ErrorCode.ERR_CLOSED, 'ERR_CLOSED');

// A browser gets the same.
assert.deepEqual(browser.CloseCode, CloseCode);
for (let code = 0; code < 5100; code += 1)
  for (const opened of [undefined, true, false])
    assert.equal(browser.closeAdvice(code, opened), closeAdvice(code, opened), `${code} ${opened}`);
