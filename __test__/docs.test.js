'use strict';

// Holds index.d.ts and the READMEs to the code: each names every option, error code and close code, and nothing else.

const { existsSync, readFileSync } = require('node:fs');
const { dirname, join } = require('node:path');
const ts = require('typescript');
const { catalogue } = require('../lib/native');
const exported = require('..');

const file = join(__dirname, '..', 'index.d.ts');
const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);

/** Interfaces and classes of the file, by name. */
const interfaces = new Map(
  source.statements
    .filter((each) => ts.isInterfaceDeclaration(each) || ts.isClassDeclaration(each))
    .map((each) => [each.name.text, each]),
);

const textOf = (comment) => ts.getTextOfJSDocComment(comment) ?? '';

/** The doc comment of a node: its text, and its tags by name. */
function docOf(node) {
  const [doc] = node.jsDoc ?? [];
  const tags = new Map((doc?.tags ?? []).map((tag) => [tag.tagName.text, textOf(tag.comment)]));
  return { text: textOf(doc?.comment), tags };
}

/** Interfaces of this file that a type is made of. */
function namedIn(type) {
  if (type === undefined) return [];
  if (ts.isUnionTypeNode(type) || ts.isIntersectionTypeNode(type)) return type.types.flatMap(namedIn);
  if (!ts.isTypeReferenceNode(type)) return [];
  const found = interfaces.get(type.typeName.getText());
  return found === undefined ? [] : [found];
}

/** Members of an interface and of those that it extends. */
function membersOf(declaration) {
  const parents = (declaration.heritageClauses ?? []).flatMap((clause) =>
    clause.types.map((type) => interfaces.get(type.expression.getText())),
  );
  return [...declaration.members, ...parents.flatMap(membersOf)];
}

/** All options under an interface: path -> the nodes that declare it. `undefined?: undefined` only excludes. */
function optionsOf(declaration, prefix = '', found = new Map()) {
  for (const member of membersOf(declaration)) {
    if (member.type?.kind === ts.SyntaxKind.UndefinedKeyword) continue;
    const path = prefix + member.name.getText();
    found.set(path, [...(found.get(path) ?? []), member]);
    if (ts.isPropertySignature(member)) {
      for (const inner of namedIn(member.type)) optionsOf(inner, `${path}.`, found);
    }
  }
  return found;
}

/** Members of the type of a constant: name -> [doc, type]. */
function constantOf(name) {
  const declaration = source.statements
    .filter(ts.isVariableStatement)
    .flatMap((statement) => [...statement.declarationList.declarations])
    .find((each) => each.name.getText() === name);
  return new Map(
    declaration.type.members.map((member) => [
      member.name.getText(),
      [docOf(member).text, member.type.getText()],
    ]),
  );
}

/** Methods that the class inherits from EventEmitter as they are. */
const EMITTER = ['on', 'addListener', 'off', 'removeListener'];

const options = optionsOf(interfaces.get('WebSocketManagerOptions'));
const { errorCodes, closeCodes, sendableCodes, options: paths } = catalogue();

describe('index.d.ts', () => {
  test('has every option, and no other', () => {
    expect([...options.keys()].sort()).toEqual([...paths].sort());
  });

  test.each([...options])('says what %s is, and its default', (_path, members) => {
    for (const member of members) {
      const { text, tags } = docOf(member);
      expect(text).not.toBe('');
      expect(tags.get('defaultValue')).toBeTruthy();
    }
  });

  const bounds = /(?:must be|from) .*?(\d[\d_]*) to (\d[\d_]*)/;
  const server = require('node:http').createServer();
  const numbers = [...options].filter(([, [member]]) => member.type?.getText().startsWith('number'));
  test.each(numbers)('gives the range of %s as the code has it', (path, [member]) => {
    // The code's own words come with the error for a value that is out of every range.
    const names = path.split('.');
    const value = names.reduceRight((inner, name) => ({ [name]: inner }), -1);
    const base = path.startsWith('auth.')
      ? { auth: { jwt: { secret: 'x'.repeat(32), ...value.auth.jwt } } }
      : { auth: 'anonymous', ...value };
    let message = '';
    try {
      new exported.WebSocketManager(server, base);
    } catch (error) {
      ({ message } = error);
    }
    const [, min, max] = bounds.exec(message);
    const grouped = (digits) => Number(digits).toLocaleString('en-US');
    expect(docOf(member).text.replace(/\s+/g, ' ')).toContain(`${grouped(min)} to ${grouped(max)}`);
  });

  test('has every error code, with a meaning', () => {
    const documented = constantOf('ErrorCode');
    expect([...documented.keys()].sort()).toEqual(errorCodes.map(({ code }) => code).sort());
    for (const [name, [text, type]] of documented) {
      expect([name, type, text !== '']).toEqual([name, `'${name}'`, true]);
    }
    expect(Object.keys(exported.ErrorCode).sort()).toEqual([...documented.keys()].sort());
    expect(Object.entries(exported.ErrorCode).every(([key, value]) => key === value)).toBe(true);
  });

  test('has every close code, with a meaning, and what to do', () => {
    const documented = constantOf('CloseCode');
    expect(Object.fromEntries([...documented].map(([name, [, type]]) => [name, Number(type)]))).toEqual(
      Object.fromEntries(closeCodes.map(({ name, code }) => [name, code])),
    );
    for (const { name, code, advice } of closeCodes) {
      const [text] = documented.get(name);
      const [, said] = /(?:^|\. )(Reconnect|Refresh|Stop)\b[^.]*\.$/.exec(text.replace(/\s+/g, ' '));
      expect([name, said.toLowerCase()]).toEqual([name, advice]);
      expect([name, exported.closeAdvice(code)]).toEqual([name, advice]);
    }
    // An UpgradeRefusal's, by its status: those that ask to come back later, and all others.
    for (const { closeAdvice } of [exported, require('../browser.js')]) {
      expect([4429, 4500, 4503, 4599].map((code) => closeAdvice(code))).toEqual(Array(4).fill('reconnect'));
      expect([4400, 4402, 4404, 4430, 4499, 4600].map((code) => closeAdvice(code))).toEqual(
        Array(6).fill('stop'),
      );
    }
    expect(exported.CloseCode).toEqual(Object.fromEntries(closeCodes.map(({ name, code }) => [name, code])));
  });

  test('gives the close codes that may be sent as the code has them', () => {
    const ranges = sendableCodes.map((range) => range.join('-')).join(', ');
    const given = source.text.match(/\b1000-[\d, -]*\d/g);
    expect(given).toHaveLength(4);
    expect(new Set(given)).toEqual(new Set([ranges]));
  });

  test('has every event that there is, each with a comment', () => {
    const events = interfaces.get('WebSocketManagerEvents').members;
    expect(events.map((member) => member.name.getText())).toEqual([
      ...[
        'connection',
        'message',
        'disconnect',
        'slow',
        'pong',
        'drain',
        'refused',
        'broker',
        'missed',
        'error',
      ],
    ]);
    for (const event of events) expect(docOf(event).text).not.toBe('');
  });

  test('has every name that the package exports', () => {
    const names = source.statements
      .filter((statement) => ts.isClassDeclaration(statement) || ts.isFunctionDeclaration(statement))
      .map((statement) => statement.name.text);
    const constants = source.statements
      .filter(ts.isVariableStatement)
      .flatMap((statement) => statement.declarationList.declarations.map((each) => each.name.getText()));
    expect([...names, ...constants].sort()).toEqual(Object.keys(exported).sort());
  });

  test.each(['WebSocketManager', 'RedisPubSub', 'Connection', 'ConnectionManager', 'Stats', 'BrokerStats'])(
    'has what %s has',
    async (name) => {
      const manager = new exported.WebSocketManager(server, { auth: 'anonymous' });
      const declared = interfaces
        .get(name)
        .members.filter((member) => member.name && !ts.isConstructorDeclaration(member))
        .map((member) => member.name.getText());
      const inherited = ['once', 'prependOnceListener', 'emit', ...(name === 'RedisPubSub' ? EMITTER : [])];
      const { Connection } = require('../lib/connection');
      const own = {
        WebSocketManager: Object.getOwnPropertyNames(exported.WebSocketManager.prototype),
        RedisPubSub: Object.getOwnPropertyNames(exported.RedisPubSub.prototype),
        Connection: Object.getOwnPropertyNames(Connection.prototype),
        ConnectionManager: Object.getOwnPropertyNames(Object.getPrototypeOf(manager.connections)),
        Stats: Object.keys(manager.stats()),
        BrokerStats: Object.keys(manager.stats().broker),
      }[name];
      const documented = declared.filter((each) => !each.startsWith('[') && !inherited.includes(each));
      expect([...new Set(documented)].sort()).toEqual(own.filter((each) => each !== 'constructor').sort());
      await manager.close();
    },
  );

  test.each(['WebSocketManager', 'RedisPubSub', 'Connection', 'ConnectionManager'])(
    'says of each method of %s what it throws',
    (name) => {
      const declaration = interfaces.get(name);
      const plain = ['stats', 'users', 'ref', 'unref', 'terminate', 'pause', 'resume'];
      const emitter = /^(on|once|off|emit|\w+Listeners?)$/;
      for (const member of declaration.members) {
        const isMethod = ts.isMethodDeclaration(member) || ts.isMethodSignature(member);
        const method = member.name?.getText() ?? '';
        if (!isMethod || method.startsWith('[') || emitter.test(method) || plain.includes(method)) continue;
        expect([method, docOf(member).tags.has('throws')]).toEqual([method, true]);
      }
    },
  );
});

const root = join(__dirname, '..');
const FENCED = /^```.*\n[\s\S]*?^```$/gm;

/** The texts in backticks. */
const quoted = (text) => [...text.matchAll(/`([^`]+)`/g)].map(([, each]) => each);

/** A README: its headings, code blocks, and tables as rows of cells, each with the heading that it is under. */
function readmeOf(name) {
  const text = readFileSync(join(root, name), 'utf8');
  const code = text.match(FENCED);
  const headings = [];
  const rows = [];
  for (const line of text.replace(FENCED, '').split('\n')) {
    if (line.startsWith('#')) headings.push(line);
    if (line.startsWith('| '))
      rows.push({ heading: headings.length, cells: line.split(/(?<!\\) *\| */).slice(1, -1) });
  }
  const tableUnder = (pattern) => {
    const heading = headings.findIndex((each) => pattern.test(each)) + 1;
    return rows.filter((row) => row.heading === heading).map(({ cells }) => cells);
  };
  const textUnder = (pattern) => text.split(/^## /m).find((each) => pattern.test(`## ${each}`));
  return { text, code, headings, rows, tableUnder, textUnder };
}

describe.each([
  ['README.md', /^## Options/, /^## Close codes/, /^## Error codes/],
  ['README.ja.md', /^## オプション/, /^## クローズコード/, /^## エラーコード/],
])('%s', (name, ofOptions, ofCloseCodes, ofErrorCodes) => {
  const readme = readmeOf(name);

  test('has every option, and no other', () => {
    const named = readme.tableUnder(ofOptions).flatMap(([cell]) => {
      const [first, ...others] = quoted(cell);
      // `redis.tls.ca`, `.cert`: of the same parent.
      return first === undefined
        ? []
        : [first, ...others.map((each) => first.replace(/\.[^.]*$/, '') + each)];
    });
    const leaves = paths.filter((path) => !paths.some((other) => other.startsWith(`${path}.`)));
    expect(leaves.filter((path) => !named.includes(path))).toEqual([]);
    expect(named.filter((path) => !paths.includes(path))).toEqual([]);
  });

  test('has every close code, and what to do', () => {
    const rows = readme.tableUnder(ofCloseCodes).filter(([code]) => /^\d+$/.test(code));
    expect(
      rows.map(([code, constant, advice]) => [Number(code), quoted(constant)[0], quoted(advice)[0]]),
    ).toEqual(closeCodes.map(({ code, name: constant, advice }) => [code, constant, advice]));
  });

  test('has every error code, and no other', () => {
    const named = quoted(readme.textUnder(ofErrorCodes)).filter((each) => /^ERR_[A-Z_]+$/.test(each));
    expect([...new Set(named)].sort()).toEqual(errorCodes.map(({ code }) => code).sort());
  });
});

describe('links', () => {
  /** Headings as GitHub makes anchors of them. */
  const anchorsOf = (path) =>
    [
      ...readFileSync(path, 'utf8')
        .replace(FENCED, '')
        .matchAll(/^#+ (.*)$/gm),
    ].map(([, heading]) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
        .replaceAll(' ', '-'),
    );
  const documents = [
    'README.md',
    'README.ja.md',
    'ARCHITECTURE.md',
    'CONTRIBUTING.md',
    'docs/recipes.md',
    'docs/tuning.md',
    'benches/README.md',
    'deploy/README.md',
    'examples/actory/README.md',
  ];

  test.each(documents)('of %s lead to files and headings that exist', (name) => {
    const path = join(root, name);
    const links = [
      ...readFileSync(path, 'utf8')
        .replace(FENCED, '')
        .matchAll(/\]\(([^)\s]+)\)/g),
    ].map(([, link]) => link);
    const broken = links.filter((link) => {
      if (/^https?:/.test(link)) return false;
      const [file, anchor] = link.split('#');
      const target = file === '' ? path : join(dirname(path), file);
      return (
        !existsSync(target) ||
        (anchor !== undefined && !anchorsOf(target).includes(decodeURIComponent(anchor)))
      );
    });
    expect(broken).toEqual([]);
  });
});

test('pm2 gives more than the deadline: by default, and in deploy/', () => {
  const textOf = (name) => readFileSync(join(root, name), 'utf8');
  const numberIn = (name, pattern) => Number(textOf(name).match(pattern)[1].replace('_', ''));
  const deadlineMs = numberIn('index.d.ts', /@defaultValue `drainMs \+ 6000`: (\d+)/);
  for (const name of ['README.md', 'README.ja.md', 'index.d.ts']) {
    const given = [...textOf(name).matchAll(/kill[_-]timeout(?::|) (\d+)/g)].map(([, ms]) => Number(ms));
    expect(new Set(given)).toEqual(new Set([deadlineMs + 1000]));
  }
  const [app] = require('../deploy/ecosystem.config.cjs').apps;
  expect(app.kill_timeout).toBeGreaterThan(numberIn('deploy/README.md', /drainMs: ([\d_]+)/) + 6000);
});

describe('README.ja.md', () => {
  const [english, japanese] = ['README.md', 'README.ja.md'].map(readmeOf);

  test('has the headings of README.md, in their order', () => {
    const levels = ({ headings }) => headings.map((heading) => heading.split(' ')[0]);
    expect(levels(japanese)).toEqual(levels(english));
  });

  test('has the code blocks of README.md, comments included', () => {
    expect(japanese.code).toEqual(english.code);
  });

  test('has the tables of README.md, row by row', () => {
    const shape = ({ rows }) =>
      rows.map(({ heading, cells }) => [heading, cells.length, ...quoted(cells[0])]);
    expect(shape(japanese)).toEqual(shape(english));
  });
});
