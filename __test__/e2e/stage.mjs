// A running demo and a real browser in front of it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { CHROMIUM, which } from '../../scripts/prepare.mjs';

const SERVER =
  process.env.DEMO_SERVER ?? fileURLToPath(new URL('../../examples/demo/server.mjs', import.meta.url));
const CLUSTER = fileURLToPath(new URL('../../examples/demo/cluster.mjs', import.meta.url));

/** The demo as a process of its own, so that blocking Node's thread blocks the server and not the test. */
export async function startDemo(port = 0) {
  const server = spawn(process.execPath, [SERVER], {
    env: { ...process.env, PORT: String(port), HOST: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(server, 'exit');
  const [line] = await Promise.race([
    once(createInterface(server.stdout), 'line'),
    exited.then(([code, signal]) => {
      throw new Error(`The demo ended before it listened (${signal ?? code})`);
    }),
  ]);
  const [url] = /http:\S+/.exec(line);
  return {
    url,
    port: Number(new URL(url).port),
    /** Ends it the way an operator would. Answers with its exit code; null if a signal had to end it. */
    async stop() {
      server.kill('SIGTERM');
      const timer = setTimeout(() => server.kill('SIGKILL'), 10_000);
      const [code] = await exited;
      clearTimeout(timer);
      return code;
    },
  };
}

/** The demo on two servers, on ports that are free, with all that belongs to it. */
export async function startCluster() {
  const cluster = spawn(process.execPath, [CLUSTER], {
    env: { ...process.env, PORT: '0', SERVER_PORTS: '0,0', HOST: '127.0.0.1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const exited = once(cluster, 'exit');
  let errors = '';
  cluster.stderr.on('data', (text) => {
    errors += text;
  });
  const lines = createInterface(cluster.stdout);
  let heard = '';
  lines.on('line', (line) => {
    heard += `${line}\n`;
  });
  /** Resolves with the match once the cluster has said something like this. */
  const says = async (pattern) => {
    while (!pattern.test(heard)) {
      const ended = exited.then(([code, signal]) => {
        throw new Error(`The cluster ended (${signal ?? code}): ${errors}`);
      });
      await Promise.race([once(lines, 'line'), ended]);
    }
    return pattern.exec(heard);
  };
  await says(/Ctrl\+C/);
  const [url] = /http:\S+/.exec(heard);
  const parts = [...heard.matchAll(/^ {2}(\S.*?) {2,}(\S.*?) +\(process (\d+)\)$/gm)].map(
    ([, name, at, pid]) => {
      return { name, at, pid: Number(pid) };
    },
  );
  return {
    url,
    parts,
    /** Kills a part, or starts it again, as one does in the terminal: '1', '2' or 'redis'. */
    async toggle(plug, pattern) {
      heard = '';
      cluster.stdin.write(`${plug}\n`);
      await says(pattern);
    },
    /** Ends it as Ctrl+C does. Answers with how it ended and what it complained about. */
    async stop() {
      cluster.kill('SIGINT');
      const timer = setTimeout(() => cluster.kill('SIGKILL'), 20_000);
      const [code] = await exited;
      clearTimeout(timer);
      return { code, errors };
    },
    /** Resolves in the same way once it has ended by itself. */
    ended: () => exited.then(([code]) => ({ code, errors })),
  };
}

export function startBrowser() {
  const executablePath = CHROMIUM.commands.map((command) => which(command)).find(Boolean);
  if (executablePath === undefined) throw new Error('There is no Chromium on this machine');
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** Opens the chat in a browser profile of its own. `problems` gathers what the page complains about. */
export async function openPage(browser, url, problems, options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(String(error)));
  await page.goto(url);
  return page;
}

/** Signs in through the form, and waits until the chat is there. */
export async function signIn(page, name) {
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await connected(page);
}

export async function connected(page) {
  await page.locator('#state', { hasText: /^Connected$/ }).waitFor();
  await page.locator('#people li').first().waitFor();
}

export async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByRole('button', { name: 'Send' }).first().click();
}

/** A message in the log. */
export const message = (page, text) => page.locator('#log .words', { hasText: text });

/** Someone in the list of who is here. */
export const person = (page, name) => page.locator('#people li', { hasText: name });
