import type { Opened } from "../daemon/open.ts";

/** Whoever sends an intent waits a few seconds for its answer. */
const longestPauseMs = 1000;

/**
 * Has the runner look after every change, and about every second, until `look` gives something. For as long as
 * this waits the process stays alive, and what people ask through the inbox is answered.
 */
export async function workUntil<T>({ runner, index, config }: Opened, look: () => T | undefined): Promise<T> {
  let wake = () => {};
  let changed = false;
  const poke = () => {
    changed = true;
    wake();
  };
  runner.onChange(poke);
  index.watch(poke);
  for (;;) {
    changed = false;
    await runner.tick();
    const found = look();
    if (found !== undefined) return found;
    if (changed) continue;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(longestPauseMs, config().pollInterval * 1000));
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
