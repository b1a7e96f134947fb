export function failure(code, message) {
  return Object.assign(new Error(message), { code });
}
