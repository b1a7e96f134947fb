/** Bugs to plant in client/topics.mjs: a name, what is there once, and what takes its place. */
export const MUTANTS = [
  ['dedupe off by one', 'if (offset <= last) return false;', 'if (offset < last) return false;'],
  [
    'epoch ignored',
    'return [position.slice(0, dot),',
    "return [position.slice(position.indexOf('.') + 1, dot),",
  ],
  ['term ignored', 'return [position.slice(0, dot),', "return [position.slice(0, position.indexOf('.')),"],
  [
    'kept messages are forgotten',
    'topic.kept = [];\n    this.#handOn(topic, kept, connection);',
    'topic.kept = [];',
  ],
  [
    'resumes from what is kept, and was not handed on',
    'list.push({ message, size });',
    'list.push({ message, size }); if (message.position) topic.position = message.position;',
  ],
  [
    'resumes from where the connection began',
    'if (known.keeping && position) [known.expected]',
    'if (position) known.position = position; if (known.keeping && position) [known.expected]',
  ],
  ['more is ignored', 'if (more) return this.#ask([topic]);', ''],
  [
    'replayed messages are handed on before the answer',
    'if (topic?.keeping && topic.asked) this.#hold(topic, topic.page, message, size);',
    'if (topic?.keeping && topic.asked) this.#take(topic, message);',
  ],
  [
    'live messages are handed on at once',
    'if (topic?.keeping) this.#hold(topic, topic.kept, message, size);',
    'if (false) return;',
  ],
  [
    'late messages of an earlier term are handed on',
    'before !== topic.generation) return false;',
    'false) return false;',
  ],
  [
    'the term in which a connection begins is ignored',
    'if (known.keeping && position) [known.expected] = parse(position);',
    'if (known.keeping);',
  ],
  [
    'the term in which a resume ends is ignored',
    'if (position) [topic.generation] = parse(position);\n    else topic.assume();',
    '',
  ],
  ['not recovered is not told', 'if (!recovered) this.#out.missed(topic.name, reason);', ''],
  ['unavailable counts as an answer', "if (reason === 'unavailable') {", 'if (false) {'],
  ['unavailable is not asked again', 'if (topic.postponed) this.#out.postpone();', ''],
  ['what came before unavailable is handed on twice', 'topic.page = [];\n    if (reason', 'if (reason'],
  [
    'what was kept survives a cut',
    'topic.page = [];\n      topic.kept = [];\n      topic.current',
    'topic.current',
  ],
  ['topics do not wait after a cut', 'topic.keeping = true;', ''],
  [
    'a listener that ends the connection is given the rest of the page',
    'if (!this.#handOn(topic, page, connection)) return;',
    'for (const { message } of page) this.#take(topic, message);',
  ],
  [
    'too many kept, and the term from before goes on',
    "topic.assume();\n    this.#out.missed(topic.name, 'overflow');",
    "this.#out.missed(topic.name, 'overflow');",
  ],
  ['too many kept is not told', "this.#out.missed(topic.name, 'overflow');", ''],
  [
    'a gap is forgotten while messages wait',
    'if (topic.position === undefined) this.#place',
    'if (!topic.keeping && topic.position === undefined) this.#place',
  ],
  ['an answer to what was asked before it left counts', "if (reason === 'no-position' && topic", 'if (topic'],
  ['a gap of the server is not told', 'return this.#out.missed(message.topic, reason);', 'return;'],
  ['who is no member stays one', 'if (!topic.joined) return this.#leave(topic);', 'return;'],
  [
    'what it missed of a room that it has joined again is not asked for',
    'if (late && known.keeping && !known.asked) asked.push(known);',
    '',
  ],
  ['who has joined meanwhile counts as no member', 'if (!topic.joined) return', 'return'],
];
