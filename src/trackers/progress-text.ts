import type { Progress } from "./tracker.ts";

const words = { in_progress: "In progress", done: "Done", failed: "Needs attention" };

/** Trackers refuse texts that are much longer. In characters. */
const longest = 10_000;

/** What a tracker is told of an item, in Markdown that comes back as it was sent. */
export function progressText({ status, note }: Progress): string {
  const said = (note ?? "").trim().replaceAll("\r\n", "\n").slice(0, longest).trimEnd();
  return said === "" ? `orchestrator: ${words[status]}.` : `orchestrator: ${words[status]}. ${said}`;
}
