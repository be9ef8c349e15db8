import type { RunPhase } from "../domain/workflow.ts";
import { agent } from "./agent.ts";
import { checks } from "./checks.ts";
import { merge } from "./merge.ts";
import type { PhaseHandler } from "./phase.ts";
import { poll, script } from "./script.ts";

const handlers = { script, poll, agent, checks, merge };

/** The handler of a phase that starts a program. Gates, waits and terminals need none: the engine settles them. */
export function handlerOf(type: RunPhase["type"]): PhaseHandler {
  return handlers[type] as unknown as PhaseHandler;
}
