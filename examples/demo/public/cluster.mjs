// The part of the page for several servers.
import { onThisServer, stayOn, thisServer } from './session.mjs';
import { $, element, showNote, toast } from './view.mjs';

const COUNT_MS = 2000;

/** The server that the tab was on last. */
let last = null;

/** The tab's connection is on that server now. */
export function arrive(server, broker) {
  stayOn(server);
  $('server').textContent = $('this').textContent = `Server ${server}`;
  $('server').dataset.server = server;
  $('way').textContent = 'Rust and Redis';
  for (const id of ['server', 'broker', 'cluster']) $(id).hidden = false;
  showBroker(broker);
  if (last === null) count();
  else if (last !== server) toast(`Server ${last} is gone. This tab is on server ${server} now.`);
  last = server;
}

const clock = new Intl.DateTimeFormat([], { timeStyle: 'medium' });

/** State of this server's link to the others. */
export function showBroker({ state, gapSince, gapUntil }) {
  const words = {
    up: 'Redis up',
    degraded: 'Redis is slow to answer',
    down: 'Redis is away: each server is on its own',
  };
  $('broker').textContent = words[state];
  $('broker').dataset.state = { up: 'open', degraded: 'connecting', down: 'closed' }[state];
  if (gapUntil) {
    const [from, to] = [clock.format(gapSince), clock.format(gapUntil)];
    showNote(`Redis was away. What other servers sent from ${from} to ${to} may not have come.`);
  }
}

/** The servers that this one hears of, itself included. */
export function showServers(servers) {
  $('servers').replaceChildren(
    ...servers.map(({ server, connections }) =>
      element(
        'li',
        { 'data-server': server },
        element('span', { class: 'name' }, `Server ${server}`),
        element('span', { class: 'badge', 'aria-label': `${connections} connections` }, String(connections)),
        server === thisServer()
          ? element('span', { class: 'muted small' }, 'this tab')
          : element(
              'a',
              { class: 'quiet', href: `/?server=${server}`, target: '_blank', rel: 'noopener' },
              'Open a tab there',
            ),
      ),
    ),
  );
}

/** Has all servers counted, now and then. */
async function count() {
  try {
    const response = await fetch(onThisServer('/api/count'));
    const { connections, servers, complete } = await response.json();
    const words = [
      `${connections} ${connections === 1 ? 'connection' : 'connections'}`,
      `${servers} ${servers === 1 ? 'server' : 'servers'}`,
    ];
    $('everywhere').textContent =
      `${words.join(' on ')}${complete ? '' : ', and whatever is on those that do not answer'}`;
  } catch {
    // The link says that the server is away.
  }
  setTimeout(count, COUNT_MS);
}

/** The reach of a message to one user, or to all, in words: never more than is known. */
export function reach({ status, nodes, local }) {
  const here = `on ${local} ${local === 1 ? 'connection' : 'connections'}`;
  if (last === null) return here;
  if (status === 'local') return `${here} of this server: Redis is away`;
  if (status === 'uncertain') return 'perhaps: the link to Redis broke';
  return `on ${nodes} ${nodes === 1 ? 'server' : 'servers'}`;
}
