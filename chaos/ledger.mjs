// Messages sent, messages come, and words about the difference.
import { forEachRow } from './log.mjs';
import { parsePosition } from './positions.mjs';

/** The word of a message's promise. `REFUSED`: nobody got it. */
export const Status = { PENDING: 0, PUBLISHED: 1, LOCAL: 2, UNCERTAIN: 3, REFUSED: 4 };
/** `KEPT`: in a history; `FLEETING`: in none; `KEYED`: in one, and sent until it is known to be there. */
export const Kind = { PLAIN: 0, KEPT: 1, FLEETING: 2, KEYED: 3, RELAYED: 4 };

/** A client is told within so long that its message went astray: the time that Redis has for an answer, and some. */
const TOLD_WITHIN_MS = 5000;

/** Judges each message, for each of its recipients, after the run. */
export class Ledger {
  #plan;
  #rules;
  /** All who were there, and when. */
  #devices;
  /** Stream -> the numbers of the devices that it is for. */
  #recipients;
  /** Stream -> its messages, by number: `{ stream, n, at, settled, status, … }`. */
  #streams;
  /** Stream -> device -> rows of number and time, in the order in which they came. */
  #arrivals;
  /** Of those who stay: when each was told that a message of its own went astray. */
  #refusals = new Map();
  #received;
  /** Device, target and order -> the last place of a message that came. */
  #places = new Map();

  /** `journals` are what the servers have written down, `clients` is the report of their process. */
  constructor(plan, rules, journals, clients) {
    this.#plan = plan;
    this.#rules = rules;
    this.#received = clients.received;
    const always = { opened: -Infinity, left: Infinity };
    this.#devices = [...plan.devices, ...clients.visits].map((device, number) => ({
      ...always,
      seat: number,
      ...device,
      ...(clients.ends.has(number) && { left: clients.ends.get(number) }),
    }));
    for (const device of this.#devices) device.left = rules.leftOf(device);
    this.#recipients = Array.from({ length: plan.streams }, () => []);
    this.#devices.forEach((device, number) => {
      for (const stream of plan.streamsOf(device)) this.#recipients[stream].push(number);
    });
    this.#streams = Array.from({ length: plan.streams }, () => new Map());
    for (const journal of journals) this.#readJournal(journal);
    forEachRow(clients.said, 4, (stream, n, at, device) => {
      // Of a server that was killed nobody knows what it did at last.
      const isCertain = this.#devices[device].left > at + TOLD_WITHIN_MS;
      const status = isCertain ? Status.PUBLISHED : Status.UNCERTAIN;
      const more = { kind: Kind.RELAYED, position: null, tries: 1 };
      this.#streams[stream].set(n, { stream, n, at, settled: at + TOLD_WITHIN_MS, status, ...more });
    });
    this.#arrivals = Array.from({ length: plan.streams }, () => new Map());
    forEachRow(clients.received, 4, (device, stream, n, at) => {
      const arrivals = this.#arrivals[stream].get(device);
      if (arrivals === undefined) this.#arrivals[stream].set(device, [[n, at]]);
      else arrivals.push([n, at]);
      // A relayed message has no promise; where it has arrived it was published.
      if (plan.isRelayed(stream)) {
        const message = this.#streams[stream].get(n);
        message.settled = Math.min(message.settled, at);
      }
    });
    forEachRow(clients.refused, 2, (device, at) => {
      const { seat } = this.#devices[device];
      if (!this.#refusals.has(seat)) this.#refusals.set(seat, []);
      this.#refusals.get(seat).push(at);
    });
  }

  #readJournal(journal) {
    for (const [what, stream, n, at, ...more] of journal) {
      if (what === 'sent') {
        // As long as no answer follows: its server was killed.
        const answer = { settled: Infinity, status: Status.UNCERTAIN, position: null, tries: 1 };
        this.#streams[stream].set(n, { stream, n, at, kind: more[0], ...answer });
      } else if (what === 'settled') {
        const [status, position, tries] = more;
        Object.assign(this.#streams[stream].get(n), { settled: at, status, position, tries });
      }
    }
  }

  /** Calls `visit` with each message that was sent. */
  forEachMessage(visit) {
    for (const messages of this.#streams) for (const message of messages.values()) visit(message);
  }

  /**
   * Calls `visit(outcome, message, from, to)` for each message and each of its recipients, with the servers of both; once
   * more where it came wrongly.
   */
  judge(visit) {
    this.#judgePlaces(visit);
    for (const [stream, messages] of this.#streams.entries()) {
      if (messages.size === 0) continue;
      if (this.#plan.isRelayed(stream)) this.#settleRelayed(stream, messages);
      for (const device of this.#recipients[stream]) this.#judgeOne(stream, device, messages, visit);
    }
  }

  #judgeOne(stream, number, messages, visit) {
    const from = this.#plan.publisher(stream);
    const device = this.#devices[number];
    const { server: to, opened, left } = device;
    const tell = (outcome, n, arrived) =>
      visit(outcome, { ...messages.get(n), device: number, arrived, opened, left }, from, to);
    const came = new Map();
    const highest = {};
    for (const [n, at] of this.#arrivals[stream].get(number) ?? []) {
      if (came.has(n)) {
        tell(this.#rules.again(messages.get(n)), n, at);
        continue;
      }
      came.set(n, at);
      if (messages.get(n).status === Status.REFUSED) tell('ghost', n, at);
      const lane = this.#rules.laneOf(messages.get(n));
      if (lane === undefined) continue;
      if (n < highest[lane]) tell('order', n, at);
      highest[lane] = Math.max(highest[lane] ?? 0, n);
    }
    for (const [n, message] of messages) {
      const at = came.get(n);
      if (at !== undefined) tell('delivered', n, at);
      else if (message.at > opened && message.settled < left) {
        tell(this.#rules.excuse(message, from, device, this.#isBeforeOthers(number, message)), n);
      }
    }
  }

  /** The same for each message that came to a device after one with a later place in the same order. */
  #judgePlaces(visit) {
    forEachRow(this.#received, 4, (number, stream, n, arrived) => {
      const message = this.#streams[stream].get(n);
      // A message that was published twice has two places, of which one is known.
      if (message.position === null || this.#rules.again(message) === 'again') return;
      const device = this.#devices[number];
      const { key, offset } = this.#placeAt(number, message);
      const before = this.#places.get(key) ?? 0;
      if (offset <= before) {
        const { server, opened, left } = device;
        const about = { ...message, device: number, arrived, opened, left };
        visit('order', about, this.#plan.publisher(stream), server);
      }
      this.#places.set(key, Math.max(before, offset));
    });
  }

  #placeAt(number, { stream, position }) {
    const { order, offset } = parsePosition(position);
    return { key: `${number} ${this.#plan.target(stream)} ${order}`, offset };
  }

  /** True if a message with a later place in the same order came to this device. */
  #isBeforeOthers(number, message) {
    if (message.position === null) return false;
    const { key, offset } = this.#placeAt(number, message);
    return offset < (this.#places.get(key) ?? 0);
  }

  /**
   * An error frame doesn't say which message it is about, but they come in the order of the messages: each fault
   * of one takes a frame of its own that came in time.
   */
  #settleRelayed(stream, messages) {
    let told = this.#refusals.get(this.#plan.sender(stream)) ?? [];
    if (told.length === 0) return;
    const wrong = new Set();
    const excused = new Set();
    for (const device of this.#recipients[stream]) {
      this.#judgeOne(stream, device, messages, (outcome, { n }) => {
        if (outcome === 'lost' || outcome === 'order') wrong.add(n);
        else if (outcome !== 'delivered') excused.add(n);
      });
    }
    // One that was published, and then missed, has no frame. If it is near one that has, that one needs it more.
    for (const numbers of [wrong, [...excused].filter((n) => !wrong.has(n))]) {
      let behind = 0;
      for (const n of [...numbers].sort((a, b) => a - b)) {
        const message = messages.get(n);
        const isIts = (at) => at >= behind && message.at <= at && at <= message.at + TOLD_WITHIN_MS;
        const frame = told.findIndex(isIts);
        if (frame === -1) continue;
        message.status = Status.UNCERTAIN;
        behind = told[frame];
        told = told.toSpliced(frame, 1);
      }
    }
  }
}
