import { createLiveWorld, type LiveWorld } from "../daemon/live-world.ts";
import type { Config } from "../domain/config.ts";
import { openIndex } from "../state/index.ts";

/** All plans as they are on disk, read without any lock. Nothing is repaired, pinned or written. */
export function readPlans(config: Config): LiveWorld {
  return createLiveWorld(openIndex(config.stateDir, { writer: false }), () => config, false);
}
