// The same types for CommonJS.

import testing = require('@actory/websocket/testing');

export const app: Promise<testing.TestServer> = testing.createTestServer();
export const client: Promise<testing.TestClient> = app.then(({ connect }) => connect('ada'));
