import { createLiveWorld, type LiveWorld } from "../daemon/live-world.ts";
import type { Config } from "../domain/config.ts";
import { type Index, openIndex } from "../state/index.ts";

/** All plans as they are on disk, read without any lock. Nothing is repaired, pinned or written. */
export function readPlans(config: Config): { world: LiveWorld; index: Index } {
  const index = openIndex(config.stateDir, { writer: false });
  return { index, world: createLiveWorld(index, () => config, false) };
}
