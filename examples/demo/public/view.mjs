// The elements of the page. All that people write goes in as text, never as HTML.

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}

/** The same colour for the same person on every page. */
function hue(userId) {
  let hash = 7;
  for (const char of userId) hash = (hash * 31 + char.codePointAt(0)) % 3600;
  return hash / 10;
}

function avatar(userId, name) {
  const initials = name.split(' ', 2).map((word) => [...word][0] ?? '');
  const made = element('span', { class: 'avatar', 'aria-hidden': 'true' }, initials.join('').toUpperCase());
  made.style.setProperty('--hue', hue(userId));
  return made;
}

const clock = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit' });

/** Adds to the log, and keeps its end in sight if it was. */
function append(row) {
  const log = $('log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  log.append(row);
  while (log.children.length > 300) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

export function showMessage({ userId, name, text, at }, own) {
  const time = new Date(at);
  const known = !Number.isNaN(time.getTime());
  append(
    element(
      'li',
      { class: own ? 'message own' : 'message' },
      avatar(userId, name),
      element(
        'div',
        { class: 'bubble' },
        element(
          'p',
          { class: 'who' },
          element('strong', {}, name),
          ' ',
          known ? element('time', { datetime: time.toISOString() }, clock.format(time)) : '',
        ),
        element('p', { class: 'words' }, text),
      ),
    ),
  );
}

/** A line that nobody said. */
export function showNote(text) {
  append(element('li', { class: 'note' }, text));
}

export function clearLog() {
  $('log').replaceChildren();
}

export function showRooms(rooms, current, onChoose) {
  $('rooms').replaceChildren(
    ...rooms.map(({ room, people }) => {
      const button = element(
        'button',
        { type: 'button', 'aria-current': room === current && 'true' },
        element('span', { class: 'hash', 'aria-hidden': 'true' }, '#'),
        element('span', { class: 'name' }, room),
        element('span', { class: 'badge', 'aria-label': `${people} here` }, String(people)),
      );
      button.addEventListener('click', () => onChoose(room));
      return element('li', {}, button);
    }),
  );
}

export function showPeople(people, ownUserId, onWave) {
  $('count').textContent = String(people.length);
  $('people').replaceChildren(
    ...people.map(({ userId, name, connections, servers }) => {
      const tabs = connections.length > 1 ? ` · ${connections.length} tabs` : '';
      const where =
        servers.length === 0 ? '' : element('small', { class: 'where' }, `server ${servers.join(' and ')}`);
      const own = userId === ownUserId;
      const wave = element(
        'button',
        { type: 'button', class: 'wave', 'aria-label': `Wave at ${name}` },
        'Wave',
      );
      wave.addEventListener('click', () => onWave(userId, name));
      return element(
        'li',
        { 'data-user': userId },
        avatar(userId, name),
        element('span', { class: 'name' }, name, element('small', {}, own ? ' you' : '', tabs), where),
        own ? '' : wave,
      );
    }),
  );
}

/** Shows for a moment that a message of theirs came. */
export function pulse(userId) {
  const row = [...$('people').children].find((each) => each.dataset.user === userId);
  row
    ?.querySelector('.avatar')
    .animate([{ boxShadow: '0 0 0 3px var(--ring)' }, { boxShadow: '0 0 0 3px transparent' }], 500);
}

/** Says something for a moment; once, however often it is said meanwhile. */
export function toast(text) {
  if ([...$('toasts').children].some((each) => each.textContent === text)) return;
  const made = element('p', { class: 'toast' }, text);
  $('toasts').append(made);
  setTimeout(() => made.remove(), 6000);
}

/** Three digits at most, for figures that change all the time. */
export function digits(ms) {
  if (ms === undefined) return '–';
  if (ms < 10) return ms.toFixed(1);
  return Math.round(ms).toLocaleString('en');
}
