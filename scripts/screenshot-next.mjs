// npm run screenshot: writes the picture of the Next.js example on two servers.
import { App } from '../__test__/e2e/app.mjs';
import { AppCluster } from '../__test__/e2e/app-cluster.mjs';
import { block, message, say, signIn, signInElsewhere } from '../__test__/e2e/desk.mjs';
import { openPage, startBrowser } from '../__test__/e2e/stage.mjs';

const [path] = process.argv.slice(2);
const browser = await startBrowser();
let app;
let cluster;
try {
  app = await App.install();
  cluster = await AppCluster.start(app);
  const problems = [];
  const open = () => openPage(browser, cluster.url, problems, { viewport: { width: 1180, height: 700 } });
  const ada = await open();
  await signIn(ada, 'Ada');
  const grace = await signInElsewhere(ada, open, 'Grace');
  const talk = [
    [grace, { to: 'Ada', text: 'Order 42 is packed.', through: 'route handler' }],
    [ada, { to: 'Grace', text: 'Thank you! Is the truck there yet?', through: 'socket' }],
    [grace, { text: 'The truck is here: loading starts at gate 3.', through: 'server action' }],
    [ada, { to: 'Grace', text: 'I am on my way.', through: 'route handler' }],
  ];
  for (const [page, words] of talk) {
    await say(page, words);
    for (const each of [ada, grace]) await message(each, words.text).waitFor();
  }
  await block(ada);
  await ada.screenshot({ path });
  if (problems.length > 0) throw new Error(problems.join('\n'));
  console.log(path);
} finally {
  await browser.close();
  await cluster?.stop();
  await app?.remove();
}
