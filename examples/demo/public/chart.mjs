import { KEEP_MS } from './latency.mjs';

/** Logarithmic, for one line is at half a millisecond and the other at two thousand. */
const LOWEST_MS = 0.1;
const HIGHEST_MS = 5000;
const GRID = [
  [1, '1 ms'],
  [10, '10'],
  [100, '100'],
  [1000, '1 s'],
];

/** Draws the round trips of the last half minute. */
export class Chart {
  #canvas;
  #context;
  #series;
  /** { from, to } of the times when Node was blocked. */
  blocks = [];

  /** `series`: { trips, color } each, where `color` is the name of a CSS variable. */
  constructor(canvas, series) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    this.#series = series;
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0) return;
    const scale = devicePixelRatio;
    if (
      this.#canvas.width !== Math.round(width * scale) ||
      this.#canvas.height !== Math.round(height * scale)
    ) {
      this.#canvas.width = Math.round(width * scale);
      this.#canvas.height = Math.round(height * scale);
    }
    const context = this.#context;
    const style = getComputedStyle(this.#canvas);
    const color = (name) => style.getPropertyValue(name);
    const end = performance.now();
    const x = (at) => width * (1 - (end - at) / KEEP_MS);
    const y = (ms) => {
      const part = Math.log(Math.max(ms, LOWEST_MS) / LOWEST_MS) / Math.log(HIGHEST_MS / LOWEST_MS);
      return height - 4 - Math.min(part, 1) * (height - 8);
    };

    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);

    this.blocks = this.blocks.filter(({ to }) => to > end - KEEP_MS);
    context.fillStyle = color('--blocked');
    for (const { from, to } of this.blocks) {
      context.fillRect(x(from), 0, x(Math.min(to, end)) - x(from), height);
    }

    context.font = `10px ${style.fontFamily}`;
    context.fillStyle = color('--faint');
    context.strokeStyle = color('--line');
    context.lineWidth = 1;
    for (const [ms, label] of GRID) {
      const level = Math.round(y(ms)) + 0.5;
      context.beginPath();
      context.moveTo(0, level);
      context.lineTo(width, level);
      context.stroke();
      context.fillText(label, 2, level - 3);
    }

    context.lineWidth = 1.75;
    context.lineJoin = 'round';
    for (const { trips, color: name } of this.#series) {
      context.strokeStyle = color(name);
      context.beginPath();
      for (const { at, ms } of trips.samples) context.lineTo(x(at), y(ms));
      if (trips.samples.length > 0) context.lineTo(width, y(trips.current));
      context.stroke();
    }
  }
}
