// npm run screenshot: writes the picture of the demo that the README shows.
import { openPage, person, say, signIn, startBrowser, startDemo } from '../__test__/e2e/stage.mjs';

const [path] = process.argv.slice(2);
const [demo, browser] = await Promise.all([startDemo(), startBrowser()]);
try {
  const problems = [];
  const ada = await openPage(browser, demo.url, problems);
  const grace = await openPage(browser, demo.url, problems);
  await signIn(ada, 'Ada');
  await signIn(grace, 'Grace');
  await person(ada, 'Grace').waitFor();
  const talk = [
    [ada, 'Is the page server still rendering?'],
    [grace, 'It is. I am blocking it for two seconds now.'],
    [ada, 'And I can read this while it is blocked.'],
    [grace, 'So can I. Look at the orange line.'],
  ];
  for (const [page, text] of talk.slice(0, 2)) await say(page, text);
  // Some seconds of quiet for the chart to have a line before the block.
  await ada.waitForTimeout(9000);
  await grace.getByRole('button', { name: /^Block Node/ }).click();
  await ada.locator('html[data-blocked]').waitFor();
  for (const [page, text] of talk.slice(2)) await say(page, text);
  await ada.locator('#verdict', { hasText: 'While Node was blocked' }).waitFor();
  await ada.waitForTimeout(6000);
  await ada.screenshot({ path });
  if (problems.length > 0) throw new Error(problems.join('\n'));
  console.log(path);
} finally {
  await browser.close();
  await demo.stop();
}
