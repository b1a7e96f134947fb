// Sticky sessions, one per tab: the server that a tab is on stands in its URL, and goes along with all that it asks
// for. The load balancer reads it there. With one server there is none of this.

const PARAMETER = 'server';

/** The server that this tab is on, or null. */
export const thisServer = () => new URLSearchParams(location.search).get(PARAMETER);

/** From now on this tab is on that server. */
export function stayOn(server) {
  const url = new URL(location.href);
  url.searchParams.set(PARAMETER, server);
  history.replaceState(null, '', url);
}

/** The URL of a path on the server that this tab is on. */
export function onThisServer(path) {
  const url = new URL(path, location.href);
  const server = thisServer();
  if (server) url.searchParams.set(PARAMETER, server);
  return url;
}
