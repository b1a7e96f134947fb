export class Listeners {
  #lists = {};

  on(name, listener) {
    const entry = { listener };
    this.#lists[name] ??= new Set();
    this.#lists[name].add(entry);
    return () => this.#lists[name].delete(entry);
  }

  emit(name, event) {
    for (const { listener } of [...(this.#lists[name] ?? [])]) {
      try {
        listener(event);
      } catch (error) {
        // It goes where uncaught errors go, and to no other listener.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
