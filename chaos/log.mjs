// Rows of numbers, many of them.

/** A table that grows, with `width` numbers a row. */
export class Log {
  #width;
  #numbers;
  length = 0;

  constructor(width, numbers = new Float64Array(width * 4096)) {
    this.#width = width;
    this.#numbers = numbers;
  }

  /** Adds a row and answers its index. */
  add(...row) {
    const at = this.length * this.#width;
    if (at === this.#numbers.length) {
      const numbers = new Float64Array(at * 2);
      numbers.set(this.#numbers);
      this.#numbers = numbers;
    }
    this.#numbers.set(row, at);
    this.length += 1;
    return this.length - 1;
  }

  /** Changes the end of a row, from `column` on. */
  set(index, column, ...values) {
    this.#numbers.set(values, index * this.#width + column);
  }

  /** For another process. */
  get rows() {
    return this.#numbers.slice(0, this.length * this.#width);
  }
}

/** Calls `visit` with the numbers of each row. */
export function forEachRow(rows, width, visit) {
  for (let at = 0; at < rows.length; at += width) visit(...rows.subarray(at, at + width));
}
