// Places in histories: what they say of an order, and of what was missed.

/** A position's parts: its order, which is that of one epoch and one term, and the place in it. */
export function parsePosition(text) {
  const [epoch, term, offset] = text.split('.');
  return { order: `${epoch}.${term}`, offset: Number(offset) };
}

/** True if messages with this position may be in a gap; `undefined` if its order is that of neither end. */
export function mayBeIn({ reason, after, position: to }, position) {
  const { order, offset } = parsePosition(position);
  const low = after && parsePosition(after);
  const high = to && parsePosition(to);
  if (low?.order === order) {
    // `to` may be a place before `after`, if Redis went back.
    return offset > low.offset && (reason !== 'trimmed' || high?.order !== order || offset <= high.offset);
  }
  return high?.order === order ? offset <= high.offset : undefined;
}
