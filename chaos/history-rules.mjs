// What servers with histories promise: what was acknowledged arrives, in the order of positions, or a gap of its topic tells.
import { Kind, Status } from './ledger.mjs';
import { mayBeIn, parsePosition } from './positions.mjs';
import { Rules } from './rules.mjs';

/** Why messages may be missing. */
export const REASONS = ['failover', 'emptied', 'trimmed', 'unreadable'];
/** Times of a fault reach that far beyond it, for whoever leaves then. */
const AROUND_MS = [1000, 2000];
/** So many messages are kept of a small room. */
export const SMALL_SIZE = 5;
/** Messages of clients have places that the run does not know: the last ones of a topic may be so many. */
const UNKNOWN = 20;

/** See the module. */
export class HistoryRules extends Rules {
  reported = ['repaired', 'local', 'uncertain', 'refused', 'gap', ...REASONS, 'apart', 'again'];
  broken = ['lost', 'hole', 'twice', 'order', 'ghost', 'placeless', 'stray'];
  #plan;
  #faults;
  /** Server -> target -> the gaps in that topic's history that the server told of. */
  #missed;
  /** Target and position -> when the message was sent. */
  #sent = new Map();
  /** Target and order -> the last place that is known. */
  #last = new Map();
  /** What is wrong with places, in words. */
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
    const key = `${target} ${position}`;
    if (this.#sent.has(key))
      this.findings.push(`message ${n} of stream ${stream} has the place of another one`);
    this.#sent.set(key, at);
    const { order, offset } = parsePosition(position);
    const last = `${target} ${order}`;
    this.#last.set(last, Math.max(offset, this.#last.get(last) ?? 0));
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
    // What was sent several times has the place of one of them.
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
    // Where Redis has lost messages, it has lost all that follow in their order.
    if (reason !== undefined) return reason !== 'trimmed' && isBeforeOthers ? 'hole' : reason;
    // There was nobody yet who could have known that it was missed.
    if (this.cameInGap(message, device)) return 'gap';
    // The other server listens where nobody knows of this one.
    if (!hasPlace && this.#duringFault(at, settled, isOfTwoMasters)) return 'apart';
    const mayBePlaceless = position === null && (!hasPlace || this.#duringFault(at, settled, isOfOldVersion));
    return excuse === 'gap' && mayBePlaceless ? 'gap' : 'lost';
  }

  /** Why a server has told that a message may be missing. */
  #reason(message, server) {
    const { stream, position } = message;
    const told = this.#missed[server].get(this.#plan.target(stream)) ?? [];
    const fitting = told.filter((missed) => {
      const isIn = position === null ? undefined : mayBeIn(missed, position);
      return isIn ?? this.#isOfTime(missed, message);
    });
    // What Redis still had may have been trimmed.
    return (fitting.find(({ reason }) => reason === 'trimmed') ?? fitting[0])?.reason;
  }

  remark({ stream }, server, start) {
    const told = this.#missed[server].get(this.#plan.target(stream)) ?? [];
    const gaps = told.map(({ at, reason, after, position }) => `${reason} ${after} to ${position} at ${at - start}`);
    return `; gaps told of its topic: ${gaps.slice(-5).join(', ')}`;
  }

  /** Whether the time of a message that nobody knows the place of is that of a gap. */
  #isOfTime({ at, target, after }, message) {
    const since = this.#sent.get(`${target} ${after}`) ?? -Infinity;
    if (message.settled < since) return false;
    if (message.at <= at) return true;
    // A master that was replaced goes on for those who don't know.
    return this.#faults.some(
      ({ start, over, reasons }) =>
        reasons.length > 0 && at >= start && message.at >= start && message.at <= over,
    );
  }

  /** Whether a message that is kept was published without a place, although everybody can read those. */
  isPlaceless({ kind, status, position, tries, at, settled }) {
    const isKept = kind === Kind.KEPT || (kind === Kind.KEYED && tries === 1);
    if (!isKept || status !== Status.PUBLISHED || position !== null) return false;
    return !this.#duringFault(at, settled, isOfOldVersion);
  }

  /** Whether a server told of a gap without a reason. */
  isStray({ target, reason, after, position, at }) {
    const known = this.#sent.get(`${target} ${after}`) ?? -Infinity;
    if (reason === 'trimmed') {
      const { order, offset } = parsePosition(position);
      return (
        !this.#plan.isSmall(target) || this.#last.get(`${target} ${order}`) + UNKNOWN < offset + SMALL_SIZE
      );
    }
    const isOf = ({ start, over, reasons }) => reasons.includes(reason) && start <= at && known <= over;
    return !this.#faults.some(isOf);
  }
}

const isOfTwoMasters = ({ name }) => name === 'two masters';
const isOfOldVersion = ({ name }) => name === 'old version';
