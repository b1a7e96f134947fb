// Has to end by itself.
const { createTestServer } = require('@actory/websocket/testing');

(async () => {
  const app = await createTestServer();
  const ada = await app.connect('ada');
  await app.manager.sendToUser('ada', 'came');
  const message = await ada.next();
  const { code } = await app.connect().catch((error) => error);
  const never = ada.next();
  // This one is still on its way.
  app.connect('bob').catch(() => {});
  await app.close();
  console.log(message, code, (await never.catch((error) => error)).code);
})();
