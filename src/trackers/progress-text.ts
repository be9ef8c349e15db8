import { createRedactor, secretValues } from "../lib/redact.ts";
import type { Progress } from "./tracker.ts";

const words = { in_progress: "In progress", done: "Done", failed: "Needs attention" };

/** Trackers refuse texts that are much longer. In characters. */
const longest = 10_000;

/** What a tracker is told of an item, in Markdown that comes back as it was sent; secrets of the environment are left out. */
export function progressText({ status, note }: Progress, env: NodeJS.ProcessEnv): string {
  const redact = createRedactor(secretValues(env));
  const said = (note ?? "").trim().split(/\r?\n/).map(redact).join("\n").slice(0, longest).trimEnd();
  return said === "" ? `orchestrator: ${words[status]}.` : `orchestrator: ${words[status]}. ${said}`;
}
