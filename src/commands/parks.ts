import type { Config } from "../domain/config.ts";
import type { Parks } from "../domain/park.ts";
import { Unreadable } from "../state/json.ts";
import { readParks } from "../state/parks.ts";

/** What the daemon left about agents that wait for their provider; none where that cannot be read, and why it cannot. */
export function parksOf({ stateDir }: Config): { parks: Parks; problem?: string } {
  try {
    return { parks: readParks(stateDir) };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { parks: new Map(), problem: `${error.message}; ${error.problem.hint}` };
  }
}
