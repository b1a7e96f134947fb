// Hooks of Node's loader: React comes from the folder of another package.json.
let elsewhere;

export function initialize({ parentURL }) {
  elsewhere = parentURL;
}

export function resolve(specifier, context, next) {
  const isReact = /^react(-dom)?(\/|$)/.test(specifier);
  return next(specifier, isReact ? { ...context, parentURL: elsewhere } : context);
}
