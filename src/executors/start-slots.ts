/** Lets a few at a time begin; the others wait for their turn. */
export interface StartSlots {
  /** Resolves once `key` may begin. It holds its place until it is freed, or has had it for `longestMs`. */
  take(key: string): Promise<void>;
  /** Gives the place of `key` to the next one; nothing when it holds none. */
  free(key: string): void;
  /** Whether nobody begins, or waits to. */
  isIdle(): boolean;
  /** Frees all, and lets everybody begin who still waits. */
  close(): void;
}

/** Slots for `places` at once. Whoever never says that it has begun keeps the others waiting for `longestMs` at most. */
export function startSlots(places: number, longestMs: number): StartSlots {
  const held = new Map<string, NodeJS.Timeout>();
  const waiting: { key: string; begin: () => void }[] = [];

  function hold(key: string): void {
    held.set(key, setTimeout(() => free(key), longestMs).unref());
  }

  function free(key: string): void {
    clearTimeout(held.get(key));
    if (!held.delete(key)) return;
    const next = waiting.shift();
    if (next === undefined) return;
    hold(next.key);
    next.begin();
  }

  return {
    take(key) {
      if (held.size < places) {
        hold(key);
        return Promise.resolve();
      }
      return new Promise((begin) => waiting.push({ key, begin }));
    },
    free,
    isIdle: () => held.size === 0,
    close() {
      for (const { begin } of waiting.splice(0)) begin();
      for (const key of [...held.keys()]) free(key);
    },
  };
}
