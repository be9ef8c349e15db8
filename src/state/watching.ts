import type { FSWatcher } from "node:fs";
import { basename, dirname, join } from "node:path";
import { disk, systemCode } from "./atomic-write.ts";
import type { IndexState, Watching } from "./index-state.ts";
import { planDir, plansDir, ticketsDir } from "./layout.ts";

interface Watch {
  watcher: FSWatcher;
  folder: string;
}

/** Calls back when something below the plans may have changed, having marked it to be looked at by the next poll. */
export function startWatching(state: IndexState, callback: () => void): Watching {
  const watches = new Map<string, Watch>();
  let refusalTold = false;
  const root = plansDir(state.stateDir);

  /** True when the folder is watched anew; whatever changed in it until now went unseen. */
  function follow(dir: string, planId: string | undefined, mark: (name: string) => void): boolean {
    try {
      const folder = identityOf(dir);
      if (folder !== undefined && watches.get(dir)?.folder === folder) return false;
      forget(dir);
      if (folder === undefined) return false;
      const watcher = disk.watch(dir, { persistent: false }, (_, name) => {
        if (name?.startsWith(".")) return;
        mark(name ?? "");
        callback();
      });
      watcher.on("error", (error) => {
        forget(dir);
        tellRefusal(dir, planId, error);
      });
      watches.set(dir, { watcher, folder });
      return true;
    } catch (error) {
      tellRefusal(dir, planId, error);
      return false;
    }
  }

  function forget(dir: string): void {
    watches.get(dir)?.watcher.close();
    watches.delete(dir);
  }

  /** Said once, not for each of a hundred folders: the system refuses them all for the same reason. */
  function tellRefusal(dir: string, planId: string | undefined, error: unknown): void {
    const code = systemCode(error);
    if (refusalTold || planId === undefined || code === "ENOENT") return;
    refusalTold = true;
    const notes = [
      `${dir} cannot be watched (${code ?? error}): edits there, and maybe elsewhere, are only found by looking at every file in turn`,
    ];
    state.changes.push({ planId, kind: "changed", notes });
  }

  function followRoot(): void {
    follow(root, undefined, () => {
      state.rootSignature = undefined;
    });
  }

  function followPlan(id: string): void {
    if (state.plans.get(id)?.ownProblem?.file === join(root, id)) return;
    if (follow(planDir(state.stateDir, id), id, () => state.hintedPlans.add(id))) state.hintedPlans.add(id);
    const markTicket = (name: string) => {
      const entry = state.plans.get(id)?.tickets.get(basename(name, ".json"));
      if (entry) state.hintedTickets.add(entry);
      else state.hintedPlans.add(id);
    };
    if (!follow(ticketsDir(state.stateDir, id), id, markTicket)) return;
    for (const entry of state.plans.get(id)?.tickets.values() ?? []) state.hintedTickets.add(entry);
  }

  followRoot();
  for (const id of state.plans.keys()) followPlan(id);
  return {
    followRoot,
    followPlan,
    forgetPlan(id) {
      const dir = join(root, id);
      for (const path of [...watches.keys()]) if (path === dir || dirname(path) === dir) forget(path);
    },
    close() {
      for (const dir of [...watches.keys()]) forget(dir);
    },
  };
}

/** Tells a folder from another that took its name; undefined when there is none. The number of a removed one is soon used again. */
function identityOf(dir: string): string | undefined {
  const stat = disk.lstatSync(dir, { throwIfNoEntry: false });
  return stat?.isDirectory() ? `${stat.dev}:${stat.ino}:${stat.birthtimeMs}` : undefined;
}
