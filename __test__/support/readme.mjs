// The code blocks of a README, and a shell that runs them.
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** The text of a section, from its heading to the next one of the same level. */
export function section(path, heading) {
  const [, after] = `\n${readFileSync(path, 'utf8')}`.split(`\n## ${heading}\n`);
  if (after === undefined) throw new Error(`${path} has no section '${heading}'`);
  return after.split('\n## ')[0];
}

/**
 * All code blocks of a text, in their order. `info` is what stands behind the fence; `file` is the name in the comment
 * that is a block's first line, if it is one.
 */
export function blocks(text) {
  return [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(([, info, code]) => {
    const [, file] = /^(?:\/\/|#|<!--) ([\w.-]+\.\w+)(?: -->)?$/m.exec(code.split('\n')[0]) ?? [];
    return { info, code, file };
  });
}

/**
 * A bash that is handed one block after another, as if they were typed into one terminal. Its background jobs end
 * with it, and it ends with this process.
 */
export class Shell {
  /** All that was printed. */
  output = '';
  #bash;
  #ended;
  #blocks = 0;
  #waiting = new Map();
  #said = new EventEmitter();

  constructor({ cwd, env }) {
    this.#bash = spawn('bash', ['--noprofile', '--norc'], {
      cwd,
      env,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    });
    const [, stdout, stderr, marks] = this.#bash.stdio;
    for (const stream of [stdout, stderr]) {
      createInterface(stream).on('line', (line) => {
        this.output += `${line}\n`;
        this.#said.emit('line');
      });
    }
    // A pipe of their own: a background job may print half a line in between, as Redis does at SIGTERM.
    createInterface(marks).on('line', (mark) => this.#waiting.get(mark)?.());
    this.#ended = new Promise((resolve) => this.#bash.on('close', resolve));
    this.#bash.stdin.on('error', () => {}); // It has ended, which run() tells.
    // -m: jobs have numbers, as in a terminal.
    this.#bash.stdin.write(`set -em\ntrap 'jobs -p | xargs -r kill 2>/dev/null' EXIT\n`);
  }

  /** Resolves when all of its commands have ended well or gone to the background. */
  async run(code) {
    this.#blocks++;
    const mark = `-- end of block ${this.#blocks} --`;
    const done = new Promise((resolve) => this.#waiting.set(mark, resolve));
    const failed = this.#ended.then(() => {
      throw new Error(`bash has ended during:\n${code}\nIt printed:\n${this.output}`);
    });
    // Its input is the commands, which no program may take for its own.
    this.#bash.stdin.write(`{\n${code}\n} < /dev/null 3>&-\necho '${mark}' >&3\n`);
    await Promise.race([done, failed]);
  }

  /** Resolves when something like this was printed. */
  async says(pattern) {
    while (!pattern.test(this.output)) await once(this.#said, 'line');
  }

  /** Writes a file where the commands run. */
  write(file, text) {
    return this.run(`cat > '${file}' <<'END OF FILE'\n${text}END OF FILE`);
  }

  /** Ends it, and all that it runs in the background. */
  close() {
    this.#bash.stdin.end();
    return this.#ended;
  }
}
