/** Numbers in [0, 1) that a seed decides (mulberry32). */
export type Random = () => number;

/** Makes such a source. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An integer from `least` up to `most`. */
export function between(next: Random, least: number, most: number): number {
  return least + Math.floor(next() * (most - least + 1));
}

/** One of the items. */
export function pick<T>(next: Random, items: readonly T[]): T {
  const item = items[Math.floor(next() * items.length)];
  if (item === undefined) throw new Error("there is nothing to pick from");
  return item;
}
