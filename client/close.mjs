// The server's catalogue in few bytes; a test holds it to that of the package.
const RECONNECT = [1001, 1006, 1011, 1012, 1013, 1014, 4003, 4004, 4429];
const REFRESH = [4001, 4401];

export function closeAdvice(code) {
  if (REFRESH.includes(code)) return 'refresh';
  return RECONNECT.includes(code) || (code >= 4500 && code < 4600) ? 'reconnect' : 'stop';
}
