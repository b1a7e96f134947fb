// Follows the README's "Quick start" to the letter, but for where the package comes from: in a folder of its own, with a browser.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pack } from '../scripts/pack.mjs';
import { start as startRegistry } from '../scripts/registry.mjs';
import { root } from '../scripts/run.mjs';
import { startBrowser } from './e2e/stage.mjs';
import { blocks, Shell, section } from './support/readme.mjs';
import redisServer from './support/redis-server.js';

let folder;
let registry;
let shell;
let browser;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'actory-quick-start-'));
  await pack({ out: join(folder, 'dist'), anyBuild: true });
  registry = await startRegistry(join(folder, 'dist'));
  const own = process.env.npm_config_userconfig ?? join(homedir(), '.npmrc');
  const npmrc = join(folder, 'npmrc');
  writeFileSync(npmrc, `${existsSync(own) ? readFileSync(own, 'utf8') : ''}\n${registry.npmrc}`, {
    mode: 0o600,
  });
  const env = { ...process.env, npm_config_userconfig: npmrc };
  for (const name of Object.keys(env))
    if (/^npm_(package|lifecycle|config_local)/.test(name)) delete env[name];
  shell = new Shell({ cwd: folder, env });
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await shell?.close();
  await registry?.close();
  rmSync(folder, { recursive: true, force: true });
});

test('the quick start runs as printed, and two tabs see each other', async () => {
  const port = await redisServer.freePort();
  // Port 3000 may be taken here.
  const steps = blocks(section(join(root, 'README.md'), 'Quick start').replaceAll('3000', String(port)));
  const [install] = steps.filter(({ info }) => info === 'sh install');
  const server = steps.find(({ file }) => file === 'server.mjs');
  const commands = steps.slice(steps.indexOf(server)).filter(({ info }) => info === 'sh app');
  assert.equal(commands.length, 1);
  await shell.run('npm init --yes');
  await shell.run(install.code);
  await shell.write(server.file, server.code);
  // The last line is the server, which in a terminal stays in front.
  await shell.run(`${commands[0].code.trimEnd()} &`);
  await shell.says(new RegExp(`http://localhost:${port}`));

  const context = await browser.newContext();
  const opened = /"opened":"[^"]+"/g;
  const messages = async (page, count) => {
    await page.waitForFunction(
      (wanted) => (document.body.textContent.match(/"opened":"[^"]+"/g) ?? []).length >= wanted,
      count,
    );
    return (await page.locator('body').textContent()).match(opened);
  };
  const first = await context.newPage();
  await first.goto(`http://localhost:${port}`);
  const [own] = await messages(first, 1);
  const second = await context.newPage();
  await second.goto(`http://localhost:${port}`);
  const [seenThere] = await messages(second, 1);
  assert.deepEqual(await messages(first, 2), [own, seenThere]);
});
