// The page of the Actory app, as a person uses it.

/** Signs in through the form, and waits until the page is connected. */
export async function signIn(page, name) {
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await connected(page);
}

export async function connected(page) {
  await page.locator('.state', { hasText: /^Connected$/ }).waitFor();
  await page.locator('.server').waitFor();
}

/** The name of the server that the page is connected to. */
export const serverOf = async (page) => /on (.*)/.exec(await page.locator('.server').textContent())[1];

export const isOn = (page, server) => page.locator('.server', { hasText: `on ${server}` }).waitFor();

/** A message on the page. */
export const message = (page, text) => page.locator('.messages li', { hasText: text });

/** One more tab in the same browser profile. */
export async function tabBeside(page) {
  const tab = await page.context().newPage();
  tab.setDefaultTimeout(30_000);
  await tab.goto(page.url());
  await connected(tab);
  return tab;
}

/** Sends a message: to everyone, or to a user; through a 'socket', a 'route handler' or a 'server action'. */
export async function say(page, { to = '', text, through = 'socket' }) {
  await page.getByLabel('To', { exact: true }).fill(to);
  await page.getByLabel('Text').fill(text);
  await page.getByLabel(through).check();
  await page.getByRole('button', { name: 'Send' }).click();
}

/** Opens profiles until one lands on another server than `page`, which is chance, and signs in there. */
export async function signInElsewhere(page, open, name) {
  const there = await serverOf(page);
  for (;;) {
    const other = await open();
    await signIn(other, name);
    if ((await serverOf(other)) !== there) return other;
    await other.context().close();
  }
}

/** Has Node render the slow page, and answers with what the page then says of it. */
export async function block(page) {
  await page.getByRole('button', { name: 'Block Node' }).click();
  const verdict = page.locator('.verdict[data-done=true]');
  await verdict.waitFor();
  const text = await verdict.textContent();
  const [ms, count, slowest] = text.match(/[\d.]+/g).map(Number);
  return { text, ms, count, slowest };
}
