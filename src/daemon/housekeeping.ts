import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Config } from "../domain/config.ts";
import type { World } from "../engine/world.ts";
import { deleteTrash, trashIn } from "../git/trash.ts";
import { parkedIn } from "../git/worktree-pool.ts";
import { dropParked } from "../git/worktree-removal.ts";
import type { Logger } from "../lib/logger.ts";
import { lockDir } from "../state/layout.ts";

/** Clears away, in the background, what removals left behind. */
export interface Housekeeping {
  /** Something changed: looks soon, unless it just did. */
  poke(): void;
  /** Stops, and resolves once nothing of it runs any more. What is left is found by the next one. */
  close(): Promise<void>;
}

export interface HousekeepingParts {
  world: World;
  config(): Config;
  log: Logger;
  /** Milliseconds between a change and the look that follows it. */
  delayMs?: number;
}

/** Starts with a look of its own: a process that was killed may have left something. */
export function startHousekeeping({ world, config, log, delayMs = 10_000 }: HousekeepingParts): Housekeeping {
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> = look();

  function look(): Promise<void> {
    return clearAway(world, config(), log, stop.signal).catch((error: unknown) => {
      log.warn({ err: error }, "what removals left behind could not be cleared away; it is tried again");
    });
  }

  function poke(): void {
    if (timer !== undefined || stop.signal.aborted) return;
    timer = setTimeout(() => {
      timer = undefined;
      looking = looking.then(look);
    }, delayMs);
    timer.unref();
  }

  return {
    poke,
    async close() {
      stop.abort();
      clearTimeout(timer);
      await looking;
    },
  };
}

/** One look: gives up what is parked for plans that have ended, then deletes the trash, one folder after the other. */
async function clearAway(world: World, config: Config, log: Logger, signal: AbortSignal): Promise<void> {
  const roots = await worktreeRoots(world, config);
  for (const root of roots) {
    for (const { path, planId } of await parkedIn(root)) {
      if (signal.aborted) return;
      if (!mayRunOn(world, planId)) await dropParked(path, lockDir(config.home));
    }
  }
  for (const root of roots) {
    for (const trash of await trashIn(root)) {
      if (signal.aborted) return;
      await deleteTrash(trash, signal).catch((error: unknown) => log.warn({ err: error }, `${trash} could not be deleted`));
    }
  }
}

/** The folders right below which worktrees of tickets stand, or stood. */
export async function worktreeRoots(world: World, config: Config): Promise<Set<string>> {
  const below = await readdir(config.worktreeRoot, { withFileTypes: true }).catch(() => []);
  const roots = new Set(below.filter((entry) => entry.isDirectory()).map((entry) => join(config.worktreeRoot, entry.name)));
  for (const { plan, tickets } of world.plans.values()) {
    roots.add(plan.worktreeRoot ?? join(config.worktreeRoot, plan.id));
    for (const { worktree } of tickets.values()) if (worktree !== null) roots.add(dirname(worktree));
  }
  return roots;
}

/** Whether a plan has tickets that have not ended. A plan that cannot be read may have; one that is gone has none. */
export function mayRunOn(world: World, planId: string): boolean {
  if (world.brokenPlans.has(planId)) return true;
  const view = world.plans.get(planId);
  if (!view) return false;
  if (view.broken.size > 0 || view.plan.tickets.some(({ ticketId }) => !view.tickets.has(ticketId))) return true;
  return [...view.tickets.values()].some((ticket) => ticket.activity.state !== "finished");
}
