import type { SourceItem } from "./tracker.ts";

const words: Record<SourceItem["state"], readonly string[]> = {
  open: [
    "open",
    "new",
    "todo",
    "to do",
    "backlog",
    "planned",
    "planning",
    "ready",
    "queued",
    "active",
    "started",
    "doing",
    "in progress",
    "in review",
    "review",
    "verifying",
    "blocked",
    "reopened",
    "failed",
    "now",
    "next",
    "later",
  ],
  done: ["done", "closed", "complete", "completed", "resolved", "fixed", "merged", "passed", "shipped", "released", "finished"],
  dropped: [
    "dropped",
    "cancelled",
    "canceled",
    "duplicate",
    "obsolete",
    "rejected",
    "invalid",
    "wontfix",
    "wont fix",
    "wont do",
    "not planned",
    "icebox",
    "abandoned",
  ],
};

const states = new Map(Object.entries(words).flatMap(([state, names]) => names.map((name) => [name, state as SourceItem["state"]])));

/** What a word for a status means, however it is spelt; undefined for one that nobody knows. */
export function stateOf(word: string): SourceItem["state"] | undefined {
  const plain = word
    .slice(0, 100)
    .toLowerCase()
    .replace(/['’]/g, "")
    .replace(/[^a-z]+/g, " ")
    .trim();
  return states.get(plain);
}
