// The promise of servers with histories: acknowledged messages arrive, in the order of positions, or a gap of their topic tells.
import { KEEPING } from './history-faults.mjs';
import { Kind, Status } from './ledger.mjs';
import { mayBeIn, parsePosition } from './positions.mjs';
import { Rules } from './rules.mjs';

/** Reasons for which messages may be missing. */
export const REASONS = ['failover', 'emptied', 'trimmed', 'unreadable'];
/** Times of a fault reach that far beyond it: for whoever leaves then, and for messages that were under way when it began. */
const AROUND_MS = [1000, 2000];
/** So many messages are kept of a small room. */
export const SMALL_SIZE = 5;
/** Messages of clients have places that the run does not know: at most so many of a topic in a row. */
const UNKNOWN = 20;

/** See the module. */
export class HistoryRules extends Rules {
  reported = ['repaired', 'local', 'uncertain', 'refused', 'gap', ...REASONS, 'apart', 'again'];
  broken = ['lost', 'hole', 'twice', 'order', 'ghost', 'placeless', 'stray'];
  /** Missed messages are read first. */
  backMs = 2000;
  #plan;
  #faults;
  /** Server -> target -> the gaps in that topic's history that the server told of. */
  #missed;
  /** Target and order -> the places that are known, and when their messages were sent. */
  #places = new Map();
  /** Faults of places, in words. */
  findings = [];

  /** `faults` are those of the run, `over` when all was done, with the `reasons` for which messages may be missed. */
  constructor(plan, gaps, faults, journals) {
    super(gaps);
    this.#plan = plan;
    this.#faults = faults;
    this.#missed = journals.map(() => new Map());
    for (const [server, journal] of journals.entries()) {
      for (const [what, ...entry] of journal) {
        if (what === 'missed') this.#addMissed(server, ...entry);
      }
    }
  }

  #addMissed(server, at, target, reason, after, position) {
    const missed = { server, at, target, reason, after, position };
    const known = this.#missed[server].get(target);
    if (known === undefined) this.#missed[server].set(target, [missed]);
    else known.push(missed);
  }

  /** A message has this place. */
  place({ stream, n, at, position }) {
    const target = this.#plan.target(stream);
    const { order, offset } = parsePosition(position);
    const key = `${target} ${order}`;
    const known = this.#places.get(key) ?? new Map();
    if (known.has(offset))
      this.findings.push(`message ${n} of stream ${stream} has the place of another one`);
    this.#places.set(key, known.set(offset, at));
  }

  /** When a message was sent, or one shortly before it; long ago if there is none whose place is known. */
  #sentAt(target, position) {
    if (position === null) return -Infinity;
    const { order, offset } = parsePosition(position);
    const known = this.#places.get(`${target} ${order}`);
    for (let place = offset; place > offset - UNKNOWN; place -= 1) {
      if (known?.has(place)) return known.get(place);
    }
    return -Infinity;
  }

  /** All gaps in histories. */
  get missed() {
    return this.#missed.flatMap((topics) => [...topics.values()].flat());
  }

  #duringFault(from, until, isMeant = () => true) {
    return this.#faults.some(({ start, over, ...fault }) => isMeant(fault) && from <= over && until >= start);
  }

  leftOf({ left }) {
    const [before, behind] = AROUND_MS;
    // Of two topics one may still be read while the other one's messages arrive.
    const during = this.#faults.filter(({ start, over }) => left >= start - before && left <= over + behind);
    return Math.min(left, ...during.map(({ start }) => start - before));
  }

  laneOf({ status, kind, tries, position }) {
    // A message that was sent several times has the place of one of them.
    if (status === Status.UNCERTAIN || tries > 1) return undefined;
    if (status === Status.LOCAL) return 'local';
    if (position !== null && position !== undefined) return 'placed';
    return kind === Kind.RELAYED ? 'relayed' : 'unplaced';
  }

  again({ kind, at, settled }) {
    // Redis has lost its key meanwhile.
    const isForgotten = ({ reasons }) => reasons.length > 0;
    return kind === Kind.KEYED && this.#duringFault(at, settled, isForgotten) ? 'again' : 'twice';
  }

  excuse(message, from, device, isBeforeOthers) {
    const excuse = super.excuse(message, from, device);
    if (!['gap', 'lost'].includes(excuse) || message.status === Status.LOCAL) return excuse;
    const { kind, position, at, settled } = message;
    const hasPlace = position !== null || kind === Kind.RELAYED;
    const reason = hasPlace ? this.#reason(message, device.server) : undefined;
    // If Redis has lost a message, it has lost all that follow in its order.
    const isThere = reason !== 'trimmed' && (isBeforeOthers || (position !== null && this.#isSafe(at)));
    if (reason !== undefined) return isThere ? 'hole' : reason;
    // There was nobody yet who could have known that it was missed.
    if (this.cameInGap(message, device)) return 'gap';
    // The other server listens where nobody knows of this one.
    if (!hasPlace && this.#duringFault(at, settled, isOfTwoMasters)) return 'apart';
    const mayBePlaceless = position === null && (!hasPlace || this.#duringFault(at, settled, isOfOldVersion));
    return excuse === 'gap' && mayBePlaceless ? 'gap' : 'lost';
  }

  /** True if Redis still has what it acknowledged at this time. */
  #isSafe(at) {
    const since = this.#faults.findLastIndex(({ start }) => start <= at);
    const later = this.#faults.slice(Math.max(since, 0)).find(({ reasons }) => reasons.length > 0);
    return later === undefined || KEEPING.includes(later.name);
  }

  /** The reason for which a server told that a message may be missing. */
  #reason(message, server) {
    const { stream, position } = message;
    const told = this.#missed[server].get(this.#plan.target(stream)) ?? [];
    const fitting = told.filter((missed) => {
      const isIn = position === null ? undefined : mayBeIn(missed, position);
      return isIn ?? this.#isOfTime(missed, message);
    });
    // Redis may have trimmed the messages that it still had.
    return (fitting.find(({ reason }) => reason === 'trimmed') ?? fitting[0])?.reason;
  }

  remark({ stream }, server, start) {
    const told = this.#missed[server].get(this.#plan.target(stream)) ?? [];
    const gaps = told.map(
      ({ at, reason, after, position }) => `${reason} ${after} to ${position} at ${at - start}`,
    );
    return `; gaps told of its topic: ${gaps.slice(-5).join(', ')}`;
  }

  /** True if a message whose place nobody knows was sent in the time of a gap. */
  #isOfTime({ at, target, after, reason }, message) {
    if (message.settled < this.#sentAt(target, after)) return false;
    if (reason === 'trimmed' || reason === 'unreadable') return message.at <= at;
    // A master that was replaced goes on for those who don't know.
    return this.#faults.some(({ start, over, reasons }) => {
      const isNear = message.at >= start - AROUND_MS[1] && message.at <= Math.max(at, over);
      return reasons.length > 0 && start <= at && isNear;
    });
  }

  /** True if a kept message was published without a place, although everybody can read those. */
  isPlaceless({ kind, status, position, tries, at, settled }) {
    const isKept = kind === Kind.KEPT || (kind === Kind.KEYED && tries === 1);
    if (!isKept || status !== Status.PUBLISHED || position !== null) return false;
    return !this.#duringFault(at, settled, isOfOldVersion);
  }

  /** True if as many messages followed this one as its topic keeps. */
  #isTrimmed(target, position) {
    if (!this.#plan.isSmall(target)) return false;
    const { order, offset } = parsePosition(position);
    const known = [...(this.#places.get(`${target} ${order}`)?.keys() ?? [])];
    return Math.max(...known) + UNKNOWN >= offset + SMALL_SIZE;
  }

  /** True if a server told of a gap without a reason. */
  isStray({ target, reason, after, position, at }) {
    if (reason === 'trimmed') return !this.#isTrimmed(target, position);
    const known = this.#sentAt(target, after);
    const isOf = ({ start, over, reasons }) => reasons.includes(reason) && start <= at && known <= over;
    return !this.#faults.some(isOf);
  }
}

const isOfTwoMasters = ({ name }) => name === 'two masters';
const isOfOldVersion = ({ name }) => name === 'old version';
