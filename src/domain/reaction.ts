import type { FailureCategory } from "./failure.ts";
import { isProviderTrouble } from "./park.ts";

/** What may follow when a run fails. */
export const reactionNames = ["retry", "switch", "park", "fix", "escalate", "fail"] as const;
export type Reaction = (typeof reactionNames)[number];

/** Category → reaction. What it leaves out is as usual. */
export type Reactions = { [category in FailureCategory]?: Reaction | undefined };

/**
 * What follows where nobody says otherwise. Trouble of a provider parks its account, and who stands in takes over; the rest is tried
 * again as `maxRetries` allows. A model that refuses would refuse again, and nothing tries again what reached the user's checkout.
 */
export const usualReactions: Readonly<Record<FailureCategory, Reaction>> = {
  rate_limit: "switch",
  usage_limit: "switch",
  auth: "switch",
  overloaded: "switch",
  unavailable: "switch",
  incompatible: "switch",
  environment: "retry",
  test: "retry",
  implementation: "retry",
  verification: "retry",
  conflict: "retry",
  scope: "retry",
  isolation: "escalate",
  timeout: "retry",
  stalled: "retry",
  stuck: "retry",
  budget: "retry",
  blocker: "escalate",
  infrastructure: "retry",
  aborted: "retry",
  unknown: "retry",
};

/** Why a category cannot have this reaction, and which it can; undefined when it can. */
export function reactionProblem(category: FailureCategory, reaction: Reaction): { message: string; fix: string } | undefined {
  const possible = reactionNames.filter((name) => isPossible(category, name));
  if (possible.includes(reaction)) return undefined;
  const why =
    reaction === "park"
      ? `only trouble of a provider parks an agent, and ${category} is none`
      : "another run might do the same to the user's checkout again";
  return { message: `"${reaction}" is no reaction to ${category}: ${why}`, fix: `use one of ${possible.join(", ")}` };
}

function isPossible(category: FailureCategory, reaction: Reaction): boolean {
  if (reaction === "park") return isProviderTrouble(category);
  return category !== "isolation" || (reaction !== "retry" && reaction !== "switch");
}
