// One module for both kinds of importers, with the names that the types promise.

import assert from 'node:assert';
import { createRequire } from 'node:module';
import * as whole from '@actory/websocket';
import { CloseCode, ErrorCode, getWebSocketManager, WebSocketManager } from '@actory/websocket';

const required = createRequire(import.meta.url)('@actory/websocket');

assert.deepEqual(Object.keys(whole).sort(), Object.keys(required).sort());
assert.equal(required.WebSocketManager, WebSocketManager);
assert.equal(required.getWebSocketManager, getWebSocketManager);
assert.equal(CloseCode.SLOW_CONSUMER, 4004);
assert.equal(ErrorCode.ERR_CLOSED, 'ERR_CLOSED');
