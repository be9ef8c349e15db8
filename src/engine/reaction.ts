import type { FailureCategory } from "../domain/failure.ts";
import { isProviderTrouble } from "../domain/park.ts";
import { type Reaction, type Reactions, usualReactions } from "../domain/reaction.ts";
import type { FlatPhase } from "../domain/workflow.ts";

/** What a failed run leads to. */
type Answer =
  /** The edge that the workflow has for this category. */
  | { do: "edge"; target: string }
  /** The run counts for nothing: its account is parked, and the phase runs again when it may. */
  | { do: "give-back" }
  /** Again as `maxRetries` allows, then onFailure; where it can be helped, not by the agent that failed. */
  | { do: "retry"; otherAgent: boolean }
  | { do: "fix" | "escalate" | "fail" };

/** What is known of a failed run. `unserved`: its provider did not serve it. */
interface Failure {
  category: FailureCategory;
  unserved: boolean;
}

/** The answer to a failed run: the phase's own edge first, then the table of the configuration, then what is usual. */
export function reactionTo({ category, unserved }: Failure, phase: FlatPhase, table: Reactions = {}): Answer {
  const target = "on" in phase ? phase.on?.[category] : undefined;
  if (target !== undefined) return { do: "edge", target };
  const reaction: Reaction = table[category] ?? usualReactions[category];
  switch (reaction) {
    case "park":
    case "switch":
      if (unserved) return { do: "give-back" };
      // What sounds like a provider's trouble but is not, such as a model that the ticket names and nobody has.
      return { do: "retry", otherAgent: reaction === "switch" && !isProviderTrouble(category) };
    case "retry":
      return { do: "retry", otherAgent: false };
    default:
      return { do: reaction };
  }
}

/** The categories of trouble in which nobody stands in for an agent. */
export function categoriesToWaitOut(table: Reactions = {}): FailureCategory[] {
  return Object.entries(table).flatMap(([category, reaction]) => (reaction === "park" ? [category as FailureCategory] : []));
}
