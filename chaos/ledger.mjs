// What was sent, what came, and what was said about the difference.
import { forEachRow } from './log.mjs';

/** What the promise of a message said. `REFUSED`: nobody got it. */
export const Status = { PENDING: 0, PUBLISHED: 1, LOCAL: 2, UNCERTAIN: 3, REFUSED: 4 };

/** A client is told within so long that its message went astray: the time that Redis has for an answer, and some. */
const TOLD_WITHIN_MS = 5000;

/**
 * What may become of a message for one of its recipients. It arrived, or somebody said that it might not: its promise
 * (`local`, `uncertain`, `refused`), the error frame of a relayed one (`uncertain`), or the recipient's server (`gap`).
 */
export const REPORTED = ['local', 'uncertain', 'refused', 'gap'];
/** What must not: nobody said a word; it came twice; it came after a later one; it came although it was refused. */
export const BROKEN = ['lost', 'twice', 'order', 'ghost'];

/** Judges each message, for each of its recipients, after the run. */
export class Ledger {
  #plan;
  /** All who were there, and when. */
  #devices;
  /** Stream -> the numbers of the devices that it is for. */
  #recipients;
  /** Stream -> its messages, by number: `{ at, settled, status }`. */
  #streams;
  /** Stream -> device -> rows of number and time, in the order in which they came. */
  #arrivals;
  /** Device -> when it was told that a message of its own went astray. */
  #refusals = new Map();
  /** Server -> its gaps, from when to when. */
  #gaps;

  /** `servers` and `clients` are the reports of the processes; `gaps` the lost times that each server told. */
  constructor(plan, servers, clients, gaps) {
    this.#plan = plan;
    this.#gaps = gaps;
    const always = { opened: -Infinity, left: Infinity };
    this.#devices = [...plan.devices.map((device) => ({ ...device, ...always })), ...clients.visits];
    this.#recipients = Array.from({ length: plan.streams }, () => []);
    this.#devices.forEach((device, number) => {
      for (const stream of plan.streamsOf(device)) this.#recipients[stream].push(number);
    });
    this.#streams = Array.from({ length: plan.streams }, () => []);
    for (const { sent } of servers) {
      forEachRow(sent, 5, (stream, n, at, settled, status) => {
        this.#streams[stream][n] = { at, settled, status };
      });
    }
    forEachRow(clients.said, 3, (stream, n, at) => {
      this.#streams[stream][n] = { at, settled: at + TOLD_WITHIN_MS, status: Status.PUBLISHED };
    });
    this.#arrivals = Array.from({ length: plan.streams }, () => new Map());
    forEachRow(clients.received, 4, (device, stream, n, at) => {
      const arrivals = this.#arrivals[stream].get(device);
      if (arrivals === undefined) this.#arrivals[stream].set(device, [[n, at]]);
      else arrivals.push([n, at]);
      // A relayed message has no promise; where it has arrived it was published.
      if (plan.isRelayed(stream)) {
        const message = this.#streams[stream][n];
        message.settled = Math.min(message.settled, at);
      }
    });
    forEachRow(clients.refused, 2, (device, at) => {
      if (!this.#refusals.has(device)) this.#refusals.set(device, []);
      this.#refusals.get(device).push(at);
    });
  }

  /**
   * Calls `visit(outcome, message, from, to)` for each message and each of its recipients, with the servers of both; once
   * more where it came wrongly.
   */
  judge(visit) {
    for (const [stream, messages] of this.#streams.entries()) {
      if (messages.length === 0) continue;
      if (this.#plan.isRelayed(stream)) this.#settleRelayed(stream, messages);
      for (const device of this.#recipients[stream]) this.#judgeOne(stream, device, messages, visit);
    }
  }

  #judgeOne(stream, device, messages, visit) {
    const from = this.#plan.publisher(stream);
    const { server: to, opened, left } = this.#devices[device];
    const tell = (outcome, n, arrived) =>
      visit(outcome, { stream, device, n, arrived, opened, left, ...messages[n] }, from, to);
    const came = new Map();
    let highest = 0;
    for (const [n, at] of this.#arrivals[stream].get(device) ?? []) {
      if (came.has(n)) {
        tell('twice', n, at);
        continue;
      }
      came.set(n, at);
      const { status } = messages[n];
      if (status === Status.REFUSED) tell('ghost', n, at);
      // An uncertain one may still be under way when the next ones have arrived.
      if (status === Status.UNCERTAIN) continue;
      if (n < highest) tell('order', n, at);
      highest = Math.max(highest, n);
    }
    messages.forEach((message, n) => {
      const at = came.get(n);
      if (at !== undefined) tell('delivered', n, at);
      else if (message.at > opened && message.settled < left) tell(this.#excuse(message, from, to), n);
    });
  }

  /** Why a message did not arrive. */
  #excuse({ status, at, settled }, from, to) {
    if (status === Status.REFUSED) return 'refused';
    if (status === Status.UNCERTAIN) return 'uncertain';
    // Who is on the same server was served.
    if (status === Status.LOCAL) return from === to ? 'lost' : 'local';
    const isInGap = this.#gaps[to].some(({ since, until }) => at <= until && settled >= since);
    return isInGap ? 'gap' : 'lost';
  }

  /**
   * An error frame doesn't say which message it is about, but they come in the order of the messages: whatever went wrong
   * with one takes a frame of its own that came in time.
   */
  #settleRelayed(stream, messages) {
    const told = [...(this.#refusals.get(this.#plan.sender(stream)) ?? [])];
    if (told.length === 0) return;
    const wrong = new Set();
    for (const device of this.#recipients[stream]) {
      this.#judgeOne(stream, device, messages, (outcome, { n }) => {
        if (outcome === 'lost' || outcome === 'order') wrong.add(n);
      });
    }
    for (const n of [...wrong].sort((a, b) => a - b)) {
      const message = messages[n];
      const frame = told.findIndex((at) => message.at <= at && at <= message.at + TOLD_WITHIN_MS);
      if (frame === -1) continue;
      message.status = Status.UNCERTAIN;
      told.splice(0, frame + 1);
    }
  }
}
