// A Next.js app with a custom server, output: 'standalone', as npm, pnpm and workspaces of both lay it out: each is installed, built,
// and run in a folder that holds nothing but what a container would get.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { pack } from '../../scripts/pack.mjs';
import { start as startRegistry } from '../../scripts/registry.mjs';
import { root } from '../../scripts/run.mjs';
import { installTool } from '../package/tools.mjs';
import redisServer from '../support/redis-server.js';
import token from '../support/token.js';
import { Program } from './app.mjs';
import { startBrowser } from './stage.mjs';

const FIXTURE = join(root, '__test__/fixtures/next');

let home;
let registry;
let tools;
let browser;

before(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'actory-standalone-')));
  tools = await installTool('pnpm');
  await pack({ out: join(home, 'dist'), anyBuild: true });
  registry = await startRegistry(join(home, 'dist'));
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await registry?.close();
  await rm(home, { recursive: true, force: true });
});

const env = () => {
  const clean = Object.entries(process.env).filter(
    ([name]) => !/^(npm_(?!config_)|NODE_ENV|INIT_CWD)/i.test(name),
  );
  return {
    ...Object.fromEntries(clean),
    PATH: `${tools}:${process.env.PATH}`,
    NEXT_TELEMETRY_DISABLED: '1',
    CI: 'true',
  };
};

/** Runs a command to its end. Answers with what it printed. */
async function run(cwd, command, ...args) {
  const program = new Program(command, args, { cwd, env: env() });
  await program.finished();
  return program.output;
}

/** Lays the app into a folder, by itself or into a workspace that has a package `@shop/shared`, which alone has pino. */
async function lay(name, { workspace = false, packageManager }) {
  const top = join(home, name);
  const app = workspace ? join(top, 'apps/web') : top;
  await cp(FIXTURE, app, { recursive: true, filter: (path) => !/node_modules|\.next/.test(path) });
  await writeFile(join(top, '.npmrc'), registry.npmrc);
  if (!workspace) return { top, app };
  const shared = join(top, 'packages/shared');
  await mkdir(shared, { recursive: true });
  await rename(join(app, 'lib/log.ts'), join(shared, 'index.ts'));
  const edit = async (path, change) => writeFile(path, change(await readFile(path, 'utf8')));
  await edit(join(app, 'server.ts'), (text) => text.replace('./lib/log.ts', '@shop/shared'));
  const own = packageManager === 'pnpm' ? 'workspace:*' : '*';
  await edit(join(app, 'package.json'), (text) => text.replace(/"pino": ".*"/, `"@shop/shared": "${own}"`));
  const json = (path, value) => writeFile(path, JSON.stringify(value));
  await json(join(shared, 'package.json'), {
    name: '@shop/shared',
    version: '1.0.0',
    type: 'module',
    exports: './index.ts',
    dependencies: { pino: '^10.0.0' },
  });
  await json(join(top, 'package.json'), {
    name: 'shop',
    private: true,
    workspaces: ['apps/*', 'packages/*'],
  });
  if (packageManager === 'pnpm') {
    await writeFile(join(top, 'pnpm-workspace.yaml'), "packages: ['apps/*', 'packages/*']\n");
  }
  return { top, app };
}

/** Runs the server in a copy of the standalone folder, which has nothing around it, and lets `use` see it. */
async function inBox(name, app, server, use) {
  const box = join(home, `${name}-box`);
  await cp(join(app, '.next/standalone'), box, { recursive: true, verbatimSymlinks: true });
  // Nothing of the place where it was built can help.
  await rename(join(home, name), join(home, `${name}-away`));
  const port = await redisServer.freePort();
  const program = new Program(process.execPath, [server], {
    cwd: box,
    env: { PATH: '', PORT: String(port), JWT_SECRET: token.SECRET },
  });
  try {
    await program.says(/"msg":"ready"/);
    await use(`http://localhost:${port}`, program);
  } finally {
    await program.end('SIGKILL');
    await rename(join(home, `${name}-away`), join(home, name));
  }
}

/** Every app has to do this, wherever it was built. */
async function check(url, program, edgePaths) {
  const bearer = await (await fetch(`${url}/token`)).text();
  const socket = new WebSocket(`${url.replace('http', 'ws')}/api/websocket`, ['bearer', bearer]);
  await once(socket, 'open');
  assert.deepEqual(await (await fetch(`${url}/api/manager`)).json(), { connections: 1 });

  for (const path of edgePaths) {
    const edge = await (await fetch(`${url}/api/${path}`)).json();
    assert.equal(edge.code, 'ERR_WRONG_RUNTIME');
    assert.match(
      edge.message,
      /^getWebSocketManager of @actory\/websocket needs Node\.js.*runtime = "nodejs"/,
    );
    assert.equal(edge.advice, 'reconnect');
  }

  const page = await browser.newPage();
  await page.goto(url);
  const button = page.getByRole('button');
  await button.click();
  await page.getByText('refresh, refused: ERR_WRONG_RUNTIME').waitFor();
  await page.close();

  const closed = once(socket, 'close');
  assert.equal(await program.end('SIGINT'), 0);
  assert.equal((await closed)[0], 1012);
}

describe('one command completes the standalone folder', () => {
  for (const { name, packageManager, workspace, build = 'build' } of [
    { name: 'npm', packageManager: 'npm' },
    { name: 'pnpm', packageManager: 'pnpm', build: 'build:webpack' },
    { name: 'npm-workspace', packageManager: 'npm', workspace: true, build: 'build:webpack' },
    { name: 'pnpm-workspace', packageManager: 'pnpm', workspace: true },
  ]) {
    test(`${name}, ${build}`, async () => {
      const { top, app } = await lay(name, { workspace, packageManager });
      // Next 16.4 fails to build any route handler of the edge runtime with webpack.
      if (build === 'build:webpack') await rm(join(app, 'app/api/edge'), { recursive: true });
      const edgePaths = build === 'build:webpack' ? ['middleware'] : ['edge', 'middleware'];
      await run(top, packageManager, 'install');
      await run(app, packageManager, 'run', build);
      const said = await run(app, packageManager, 'run', 'standalone');
      const [, server] = /What starts it in there: node (\S+)/.exec(said);
      assert.equal(server, workspace ? 'apps/web/server.js' : 'server.js');
      await inBox(name, app, server, (url, program) => check(url, program, edgePaths));
    });
  }

  test('it fails, and says why, where something is missing', async () => {
    const app = join(home, 'npm');
    const fails = async (pattern, ...args) => {
      const program = new Program(process.execPath, [join(root, 'bin/actory-websocket.js'), ...args], {
        cwd: app,
        env: env(),
      });
      assert.equal(await program.end('SIGCONT'), 1);
      assert.match(program.output, pattern);
      assert.doesNotMatch(program.output, /complete/);
    };
    await fails(/^Usage: actory-websocket standalone/);
    await fails(/There is no other\.ts in .*: name the file of your custom server/, 'standalone', 'other.ts');
    await fails(/run "next build" first/, 'standalone', '--dist', 'build');
    await writeFile(join(app, 'broken.ts'), "import 'not-installed';\n");
    await fails(/Could not resolve "not-installed"/, 'standalone', 'broken.ts');
    await rm(join(app, '.next/standalone'), { recursive: true });
    await fails(/has to say output: 'standalone'/, 'standalone');
  });
});

test('the Dockerfile of the example makes a server that ends in order', async () => {
  const source = join(home, 'example');
  await cp(join(root, 'examples/actory'), source, {
    recursive: true,
    filter: (path) => !/node_modules|\.next/.test(path),
  });
  await writeFile(join(source, '.npmrc'), registry.npmrc);
  const ignored = (await readFile(join(source, '.dockerignore'), 'utf8')).trim().split('\n');
  assert.ok(ignored.includes('node_modules') && ignored.includes('.next'));

  // Docker's work, each stage a folder.
  const stages = [];
  let command;
  for (const line of (await readFile(join(source, 'Dockerfile'), 'utf8')).split('\n')) {
    const [word, ...rest] = line.split(' ');
    const folder = stages.at(-1)?.folder;
    if (word === 'FROM') {
      stages.push({ folder: join(home, `stage-${stages.length}`), name: rest[2] });
      await mkdir(stages.at(-1).folder);
    } else if (word === 'WORKDIR') assert.equal(rest[0], '/app');
    else if (word === 'RUN') await run(folder, 'sh', '-c', rest.join(' '));
    else if (word === 'COPY' && rest[0].startsWith('--from=')) {
      const from = stages.find(({ name }) => `--from=${name}` === rest[0]);
      await cp(rest[1].replace('/app', from.folder), folder, { recursive: true, verbatimSymlinks: true });
    } else if (word === 'COPY')
      await run(source, 'sh', '-c', `cp -R $(ls -d ${rest.slice(0, -1).join(' ')} 2>/dev/null) ${folder}`);
    else if (word === 'CMD') command = JSON.parse(rest.join(' '));
  }
  await rm(stages[0].folder, { recursive: true });

  const port = await redisServer.freePort();
  const program = new Program(command[0], command.slice(1), {
    cwd: stages[1].folder,
    env: {
      PATH: process.env.PATH,
      PORT: String(port),
      HOST: '127.0.0.1',
      JWT_SECRET: token.SECRET,
      NODE_ENV: 'production',
    },
  });
  try {
    await program.says(/ is at http/);
    const session = `session=${token.sign({ sub: 'ada', name: 'Ada' })}`;
    const socket = new WebSocket(`ws://localhost:${port}/api/websocket`, { headers: { cookie: session } });
    await once(socket, 'open');
    const closed = once(socket, 'close');
    assert.equal(await program.end('SIGTERM'), 0);
    assert.equal((await closed)[0], 1012);
  } finally {
    await program.end('SIGKILL');
  }
});
