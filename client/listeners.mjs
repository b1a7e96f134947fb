// A listener's error goes where uncaught errors go, and to nobody else.
function report(error) {
  if (globalThis.reportError) return globalThis.reportError(error);
  queueMicrotask(() => {
    throw error;
  });
}

export class Listeners {
  #lists = new Map();

  on(name, listener) {
    const entry = { listener };
    this.#lists.set(name, [...(this.#lists.get(name) ?? []), entry]);
    return () => {
      this.#lists.set(
        name,
        this.#lists.get(name).filter((each) => each !== entry),
      );
    };
  }

  emit(name, event) {
    for (const { listener } of this.#lists.get(name) ?? []) {
      try {
        listener(event);
      } catch (error) {
        report(error);
      }
    }
  }
}
