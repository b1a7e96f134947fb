// npm run test:mutants: does the simulation of crates/history find bugs? Each of those below is planted in a copy of the crate, and the
// simulation has to fail, with a run that it made short. `RUNS=…` is how many runs each may take, `-- WORD` picks those with that word.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, run } from './run.mjs';

const RUNS = process.env.RUNS ?? '400000';
/** Building and running one of them. A follower that a bug keeps from ever returning counts as not found. */
const TIMEOUT_MS = 300_000;

const FOLLOWER = 'follower.rs';
const LOG = 'log.rs';
const META = 'meta.rs';
const SEEN = 'seen.rs';
const WAITING = 'waiting.rs';
const WORLD = 'tests/simulation/world.rs';
const TRAFFIC = 'tests/simulation/world/traffic.rs';

/** A name, and the changes of files: what is there once, and what takes its place. */
const MUTANTS = [
  // Those that issue 15 names.
  ['dedupe off by one', [SEEN, 'position.offset <= last)', 'position.offset < last)']],
  [
    'repair before subscribe: asked at the cut',
    [
      FOLLOWER,
      `        self.on_cut();
        self.term = term;
        self.ask(Ask::Meta)`,
      `        self.waiting = None;
        self.term = term;
        if self.known == Known::Nothing { self.ask(Ask::Meta) } else { self.ask(Ask::Messages { from: self.offset() + 1 }) }`,
    ],
  ],
  [
    'repair before subscribe: asked before the confirmation',
    [
      WORLD,
      `        let topics = self.setup.topics;
        self.servers[server].link`,
      `        let topics = self.setup.topics;
        let term = self.nodes[node].term;
        let watches = &mut self.servers[server].watches;
        let asks: Vec<_> = watches.iter_mut().map(|watch| watch.follower.on_subscribed(Some(term))).collect();
        self.servers[server].link`,
    ],
    [
      WORLD,
      'requests: (0..topics).map(Request::Subscribe).collect(),',
      `requests: (asks.into_iter().enumerate().map(|(topic, ask)| Request::Ask(topic, ask)))
                .chain((0..topics).map(Request::Subscribe)).collect(),`,
    ],
    [
      TRAFFIC,
      '(topic, Some(self.servers[server].watches[topic].follower.on_subscribed(Some(term))), None)',
      '(topic, None, None)',
    ],
  ],
  [
    'a place that was waited at is taken for a message of its term',
    [META, '.filter(|last| last + 1 >= *first)', '.filter(|_| *first > 0)'],
  ],
  ['epoch ignored', [META, 'age.filter(|_| position.epoch == self.epoch)', 'age']],
  [
    'epoch ignored in what was seen',
    [SEEN, 'last.epoch == epoch && last.term == term)', 'last.term == term)'],
  ],
  [
    'term ignored',
    [SEEN, 'last.epoch == epoch && last.term == term)', 'last.epoch == epoch)'],
    [
      META,
      'let age = self.terms.iter().position(|(term, _)| *term == position.term);',
      'let age = self.terms.iter().position(|(_, first)| *first <= position.offset.max(1));',
    ],
  ],
  ["term of the link's store ignored", [FOLLOWER, 'meta.continued(self.term)', 'meta.continued(None)']],
  [
    'offset reused after promotion: the log does not note the new term',
    [
      LOG,
      'if self.meta.terms.iter().all(|(known, _)| *known != term) {',
      'if self.meta.offset == 0 && self.meta.terms[0].0 != term {',
    ],
  ],
  ['trim not noticed within a page', [FOLLOWER, 'self.skip(meta, offset - 1, outlet);', '']],
  [
    'trim not noticed at the end',
    [FOLLOWER, 'self.skip(meta, meta.offset, outlet);', 'self.go(meta.last());'],
  ],
  [
    'idempotency key forgotten at a cut: with the new term',
    [
      LOG,
      'self.meta.terms.truncate(MAX_TERMS);',
      'self.meta.terms.truncate(MAX_TERMS); self.keys.clear(); self.expiries.clear();',
    ],
  ],
  [
    'idempotency key forgotten at a cut: by the publisher',
    [
      WORLD,
      'self.publish(server, topic, logical, true, ending)?',
      'self.publish(server, topic, logical, false, ending)?',
    ],
  ],
  // Others.
  [
    'a key is forgotten with the messages',
    [LOG, 'self.messages = VecDeque::new();', 'self.messages = VecDeque::new(); self.keys.clear();'],
  ],
  [
    'a key gets the position before',
    [
      LOG,
      'self.keys.insert(key.into(), position)',
      'self.keys.insert(key.into(), self.meta.at(self.meta.offset - 1))',
    ],
  ],
  ['a key is known for too short a time', [LOG, 'const KEY_MS: u64 = 5 * 60', 'const KEY_MS: u64 = 2 * 60']],
  [
    'one message too few is kept',
    [LOG, 'self.messages.len() > bounds.size', 'self.messages.len() >= bounds.size'],
  ],
  [
    'one message too many is kept',
    [LOG, 'self.messages.len() > bounds.size as usize', 'self.messages.len() > bounds.size as usize + 1'],
  ],
  ['a page begins one too late', [LOG, 'from.saturating_sub(first)', '(from + 1).saturating_sub(first)']],
  ['messages live too long', [LOG, 'self.bounds.ttl_ms)', 'self.bounds.ttl_ms * 2)']],
  ['meta is gone with the messages', [LOG, 'self.ttl_ms.saturating_mul(8).max(META_MS)', 'self.ttl_ms']],
  [
    'messages of an earlier link wait on',
    [
      FOLLOWER,
      'self.may_lack |= self.known != Known::Nothing;\n        self.waiting = None;',
      'self.may_lack |= self.known != Known::Nothing;',
    ],
  ],
  ['a cut is forgotten', [FOLLOWER, 'self.may_lack |= self.known != Known::Nothing;', '']],
  [
    'a cut is forgotten while it reads',
    [
      FOLLOWER,
      'self.may_lack = from <= meta.offset;\n        self.may_lack.then_some(from)',
      'self.may_lack = false;\n        (from <= meta.offset).then_some(from)',
    ],
  ],
  [
    'a message is taken for the next one across a cut',
    [FOLLOWER, 'position.offset == 1 && self.state == State::Following', 'position.offset == 1'],
  ],
  [
    'a page is read from one too late',
    [
      FOLLOWER,
      'let from = self.offset() + 1;\n        self.may_lack',
      'let from = self.offset() + 2;\n        self.may_lack',
    ],
  ],
  [
    'the rest of a page is not read',
    [FOLLOWER, 'if self.offset() < meta.offset {\n            let from', 'if false {\n            let from'],
  ],
  [
    'what waited is thrown away',
    [
      FOLLOWER,
      'let mut waiting = self.waiting.take()?;',
      'let mut waiting = self.waiting.take().map(|_| Box::<Waiting>::default())?;',
    ],
  ],
  [
    'what was too much to wait is not read',
    [FOLLOWER, 'self.may_lack = waiting.overflowed;', 'self.may_lack = false;'],
  ],
  [
    'what waited is handed on unseen',
    [FOLLOWER, '        if self.has(position) {\n            return;\n        }\n', ''],
  ],
  ['what the store lost is not let go', [FOLLOWER, 'self.let_go(meta, outlet);', '']],
  [
    'a hole before what waited is not told',
    [
      FOLLOWER,
      'outlet.missed(Missed { reason, after, to: Some(before(position)) });',
      'let _ = (reason, after);',
    ],
  ],
  [
    'a page of another epoch is taken',
    [FOLLOWER, 'meta.as_deref().filter(|meta| self.is_on(meta))', 'meta.as_deref()'],
  ],
  ['a crossing is not told', [FOLLOWER, 'if !self.trust_failover {', 'if false {']],
  ['trust is ignored', [FOLLOWER, 'if !self.trust_failover {', 'if true {']],
  ['a store that lacks what was handed on is trusted', [FOLLOWER, '!trust || !seen.is_bare()', '!trust']],
  [
    'what was handed on is forgotten when the topic is gone',
    [FOLLOWER, 'Known::Empty(under, known.into_seen())', 'Known::Empty(under, None)'],
  ],
  [
    'the term of an empty topic is forgotten',
    [
      FOLLOWER,
      'Known::Empty(term, _) if is_other(*term)',
      'Known::Empty(term, _) if false && is_other(*term)',
    ],
  ],
  [
    'a topic that is gone is not told',
    [FOLLOWER, 'Known::Up(_) if may_lack => tell(Reason::Emptied, None),', ''],
  ],
  [
    'all is new in a store that went back',
    [
      META,
      'Some((age, last?.min(self.end(age))))',
      'Some((age, last?.min(self.end(age)).saturating_sub(1)))',
    ],
  ],
  ['a store that went back is believed', [META, 'last?.min(self.end(age))', 'last?']],
  ['other terms are forgotten', [SEEN, 'const MAX_OTHERS: usize = 32', 'const MAX_OTHERS: usize = 0']],
  [
    'less is remembered of a term after a return',
    [SEEN, 'last.offset.max(known.unwrap_or(0))', 'last.offset'],
  ],
  [
    'terms from before the subscription are unknown',
    [SEEN, 'self.remember(meta.under(age, last));', 'let _ = last;'],
  ],
  ['another store may be ahead', [FOLLOWER, ' && meta.age_of(start) == age', '']],
  ['a term ends one too late', [META, 'self.terms[newer].1 - 1', 'self.terms[newer].1']],
  [
    'a refusal is not told',
    [
      FOLLOWER,
      '} else if may_lack && !waiting.first().is_some_and(is_hole) {',
      '} else if false && !waiting.first().is_some_and(is_hole) {',
    ],
  ],
  [
    'the newest of what waits is older than every answer',
    [WAITING, 'self.answered.saturating_sub(1)', 'self.answered'],
  ],
  [
    'a recheck is ignored',
    [FOLLOWER, '(self.state == State::Following).then(|| self.ask(Ask::Meta))', 'None'],
  ],
];

/** Replaces what is there once. */
function plant(source, [file, from, to]) {
  const path = join(source, file);
  const text = readFileSync(path, 'utf8');
  const count = text.split(from).length - 1;
  if (count !== 1) return `${file} has this ${count} times: ${from}`;
  writeFileSync(
    path,
    text.replace(from, () => to),
  );
  return undefined;
}

/** Answers what became of a mutant: after how many runs it was found, and how long the shortest failing list is, or what is wrong. */
async function judge(folder, [, ...changes]) {
  const source = join(folder, 'src');
  rmSync(source, { recursive: true, force: true });
  cpSync(join(root, 'crates/history/src'), source, { recursive: true });
  for (const change of changes) {
    const fault = plant(source, change);
    if (fault !== undefined) return { fault };
  }
  const args = ['test', '--quiet', '--lib', '--manifest-path', join(folder, 'Cargo.toml'), 'every_message'];
  const env = {
    RUNS,
    SEED: '1',
    RUST_BACKTRACE: '0',
    RUSTFLAGS: '-Awarnings',
    CARGO_TARGET_DIR: join(folder, 'target'),
  };
  const { ok, output, reason } = await run('cargo', args, { timeoutMs: TIMEOUT_MS, env, quiet: true });
  if (ok) return { fault: output.includes('1 passed') ? `survives ${RUNS} runs` : 'no test ran' };
  const found = /fails after (\d+) runs, here with (\d+) of/.exec(output);
  return found === null ? { fault: `${reason}\n${output}` } : { runs: found[1], length: found[2] };
}

const word = process.argv[2] ?? '';
const chosen = MUTANTS.filter(([name]) => name.includes(word));
const folder = mkdtempSync(join(tmpdir(), 'mutants-'));
let failed = 0;
try {
  mkdirSync(join(folder, 'src'));
  const manifest = `[workspace]
[package]
name = "mutant"
version = "0.0.0"
edition = "2024"
[lib]
name = "history"
doctest = false
[profile.dev]
opt-level = 1
debug = false
`;
  writeFileSync(join(folder, 'Cargo.toml'), manifest);
  const healthy = await judge(folder, ['none']);
  if (healthy.fault !== `survives ${RUNS} runs`) {
    throw new Error(`the simulation fails without a bug: ${JSON.stringify(healthy)}`);
  }
  console.log(`${'mutant'.padEnd(64)} found after, shortest list`);
  for (const mutant of chosen) {
    const { fault, runs, length } = await judge(folder, mutant);
    if (fault !== undefined) failed += 1;
    const result =
      fault === undefined ? `${runs.padStart(7)} runs, ${length.padStart(3)}` : `NOT FOUND: ${fault}`;
    console.log(`${mutant[0].padEnd(64)} ${result}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${chosen.length - failed} of ${chosen.length} found`);
process.exitCode = failed === 0 && chosen.length > 0 ? 0 : 1;
