import { failure } from './error.mjs';

const DEFAULTS = {
  token: undefined,
  reconnect: undefined,
  queueBytes: 1_048_576,
  silenceMs: 20_000,
  WebSocket: undefined,
};
const PAUSES = { minMs: 500, maxMs: 30_000 };

function merge(defaults, given = {}, path = '') {
  const merged = { ...defaults };
  if (typeof given !== 'object' || given === null) throw invalid(path || 'options', 'an object');
  for (const [name, value] of Object.entries(given)) {
    if (!(name in defaults)) throw failure('ERR_UNKNOWN_OPTION', `There is no option ${path}${name}`);
    if (value === undefined) continue;
    if (typeof defaults[name] === 'number' && !(typeof value === 'number' && value > 0 && value < 2 ** 31)) {
      throw invalid(path + name, 'above 0 and below 2^31');
    }
    merged[name] = value;
  }
  return merged;
}

const invalid = (name, what) => failure('ERR_INVALID_OPTION', `${name} must be ${what}`);

export function optionsOf(given) {
  const options = merge(DEFAULTS, given);
  options.reconnect = merge(PAUSES, options.reconnect, 'reconnect.');
  options.WebSocket ??= globalThis.WebSocket;
  if (!['undefined', 'string', 'function'].includes(typeof options.token)) {
    throw invalid('token', 'a string or a function');
  }
  if (typeof options.WebSocket !== 'function') throw invalid('WebSocket', 'a class');
  return options;
}

export function urlOf(url) {
  let parsed;
  try {
    parsed = new URL(url, globalThis.location?.href);
  } catch {
    // The check below says it.
  }
  const address = parsed?.href.replace(/^http/, 'ws').split('#')[0];
  if (!/^wss?:/.test(address)) throw failure('ERR_INVALID_ARG', `url must begin with ws or http: ${url}`);
  return address;
}
