export function failure(code, message, more) {
  return Object.assign(new Error(message), { code }, more);
}
