import { watch } from "node:fs";
import type { Config } from "../domain/config.ts";
import type { Index } from "../state/index.ts";
import { daemonFile } from "../state/layout.ts";

/** Longest time that a change goes unseen when its hint is lost. */
const lookEveryMs = 1000;
/** Changes come in crowds; each crowd is shown once. */
const settleMs = 100;

/** Calls `onChange` after changes of plans, tickets or daemon, until Ctrl-C. It owns nothing, so ending it stops nothing. */
export async function followChanges(config: Config, index: Index, onChange: () => void): Promise<void> {
  let wake = () => {};
  let stopped = false;
  let daemonChanged = false;
  const stop = () => {
    stopped = true;
    wake();
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  index.watch(() => wake());
  const watcher = watchDaemon(config, () => {
    daemonChanged = true;
    wake();
  });
  try {
    while (!stopped) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, lookEveryMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      if (stopped) break;
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      const changed = (await index.poll()).length > 0 || daemonChanged;
      daemonChanged = false;
      if (changed) onChange();
    }
  } finally {
    watcher?.close();
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
  }
}

function watchDaemon({ home }: Config, onChange: () => void): { close(): void } | undefined {
  try {
    return watch(home, { persistent: false }, (_, name) => {
      if (name !== null && daemonFile(home).endsWith(name)) onChange();
    }).on("error", () => undefined);
  } catch {
    return undefined;
  }
}
