// The result of the run: a row per fault, and the broken promises.
/** A message that is sent so shortly before the next fault may meet it. */
const MARGIN_MS = 500;
/** A link that looks alive and is dead is found within so long. */
const FOUND_MS = 5000;
/** A message that arrives so long after its promise was settled came by repair. */
const REPAIR_MS = 250;

/** Puts messages into the time of the fault that they met, and counts. */
export class Report {
  #faults;
  #rules;
  #counts;
  #stalls;
  /** The broken promises, in words. */
  violations = [];

  /**
   * @param rules - see rules.mjs
   * @param faults - `{ name, detail, start, back, found }` in their order, a calm time first
   * @param end - when traffic stopped
   * @param gaps - those that each server told of
   * @param stalls - see stalls.mjs
   */
  constructor(rules, faults, end, gaps, stalls) {
    this.#rules = rules;
    this.#counts = ['delivered', ...rules.reported, ...rules.broken, 'late'];
    this.#stalls = stalls;
    this.#faults = faults.map((fault, index) => {
      const next = faults[index + 1]?.start;
      const isMet = ({ until }) => until >= fault.start && until < (next ?? Infinity);
      return {
        ...fault,
        end: next ?? end,
        counts: Object.fromEntries(this.#counts.map((outcome) => [outcome, 0])),
        // From each server to the other: when the first message that was sent after Redis was back had arrived.
        flows: [Infinity, Infinity],
        gaps: gaps.map((all) => lengthOf(all.filter(isMet))),
      };
    });
  }

  /** Counts a message for one recipient. */
  take(outcome, message, from, to) {
    const fault = this.#faultAt(message.at);
    fault.counts[outcome] += 1;
    if (this.#rules.broken.includes(outcome)) {
      this.#accuse(outcome, fault, message, from, to);
      return;
    }
    if (
      outcome === 'delivered' &&
      'repaired' in fault.counts &&
      message.arrived - message.settled > REPAIR_MS
    ) {
      fault.counts.repaired += 1;
    }
    if (outcome === 'delivered' && from !== to && message.at >= fault.back) {
      fault.flows[from] = Math.min(fault.flows[from], message.arrived - fault.back);
    }
    if (this.#isLate(outcome, message, fault)) {
      fault.counts.late += 1;
      this.#accuse(`late (${outcome})`, fault, message, from, to);
    }
  }

  /** Counts something wrong beside single deliveries, and says what. */
  blame(outcome, at, text) {
    const fault = this.#faultAt(at);
    fault.counts[outcome] += 1;
    this.violations.push(`${outcome}: ${text}, ${at - fault.start} ms into the time of "${fault.name}"`);
  }

  #faultAt(time) {
    return this.#faults.findLast(({ start }) => start <= time) ?? this.#faults[0];
  }

  /** True if it was sent while all was well, and didn't arrive as if all were. */
  #isLate(outcome, { at, arrived }, { back, end }) {
    const isCalm = at >= back + this.#rules.backMs && at <= end - MARGIN_MS;
    if (!isCalm || (outcome === 'delivered' && arrived - at <= this.#rules.backMs)) return false;
    return !this.#stalls.within(at - this.#rules.backMs, at + this.#rules.backMs);
  }

  #accuse(outcome, fault, message, from, to) {
    const { stream, device, n, at, settled, arrived, opened, left, ...more } = message;
    const since = (time) => (Number.isFinite(time) ? `${time - fault.start} ms` : '-');
    this.violations.push(
      `${outcome}: message ${n} of stream ${stream} from server ${from} for device ${device} of server ${to}, in the ` +
        `time of "${fault.name}": sent at ${since(at)} as ${more.kind}, settled as ${more.status} ${more.position ?? ''} at ${since(settled)} after ` +
        `${more.tries}, ` +
        `arrived ${since(arrived)}; the device came ${since(opened)} and went ${since(left)}; back ${since(fault.back)}` +
        this.#rules.remark(message, to, fault.start),
    );
  }

  /** Judges times. Call once everything is counted. */
  finish() {
    for (const { name, start, back, found, flows } of this.#faults) {
      if (this.#stalls.within(start, back + this.#rules.backMs)) continue;
      for (const ms of found.filter((ms) => ms > FOUND_MS)) {
        this.violations.push(`a dead link was found ${ms} ms after "${name}", not within ${FOUND_MS}`);
      }
      flows.forEach((ms, from) => {
        if (ms <= this.#rules.backMs) return;
        this.violations.push(
          `server ${from} reached the other one ${ms} ms after "${name}", not ${this.#rules.backMs}`,
        );
      });
    }
  }

  print() {
    const head = ['', 'fault', '', ...this.#counts, 'found ms', 'flows ms', 'gaps ms'];
    const rows = this.#faults.map(({ name, detail, counts, found, flows, gaps }, index) => {
      const values = this.#counts.map((outcome) => counts[outcome]);
      return [
        index,
        name,
        detail,
        ...values,
        found.length > 0 ? Math.max(...found) : '',
        Math.max(...flows),
        gaps.join('/'),
      ];
    });
    const sums = this.#counts.map((outcome) =>
      this.#faults.reduce((sum, { counts }) => sum + counts[outcome], 0),
    );
    const most = (times) => Math.max(0, ...this.#faults.flatMap(times));
    const total = ['', 'all', '', ...sums, most(({ found }) => found), most(({ flows }) => flows), ''];
    printTable([head, ...rows, total]);
  }
}

/** Milliseconds that some gaps cover together. */
function lengthOf(gaps) {
  let covered = 0;
  let end = 0;
  for (const { since, until } of gaps.toSorted((a, b) => a.since - b.since)) {
    covered += Math.max(0, until - Math.max(since, end));
    end = Math.max(end, until);
  }
  return covered;
}

/** The second and the third column are words, the others numbers. */
function printTable(rows) {
  const texts = rows.map((row) => row.map(String));
  const widths = texts[0].map((_, column) => Math.max(...texts.map((row) => row[column].length)));
  for (const row of texts) {
    const cells = row.map((text, column) =>
      column === 1 || column === 2 ? text.padEnd(widths[column]) : text.padStart(widths[column]),
    );
    console.log(cells.join('  ').trimEnd());
  }
}
