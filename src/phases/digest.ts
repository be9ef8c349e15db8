import { relative } from "node:path";
import type { AgentEvent } from "../domain/session.ts";
import type { HistoryEntry } from "../domain/ticket.ts";
import { fenced } from "../inputs/prompts.ts";
import { transcriptText } from "../views/transcript.ts";

const reasonLimit = 1000;
const saidLimit = 3000;
const stepsLimit = 2500;
const filesLimit = 1500;
const mostSteps = 16;

/**
 * What a new conversation should know of an earlier one that cannot be gone on with, for a prompt: how it ended, which files it
 * changed, what it did and said last. At most 9 KiB; what comes from the agent is quoted, so that it orders nothing. `cwd` is
 * where it worked.
 */
export function digestOf(
  entry: Pick<HistoryEntry, "phase" | "status" | "category" | "reason">,
  events: readonly AgentEvent[],
  { agent, cwd }: { agent: string | undefined; cwd: string },
): string {
  const who = agent === undefined ? "An agent" : `Agent "${agent}"`;
  const texts = events.flatMap((event) => (event.type === "text" ? [event.text] : []));
  const steps = events.filter(({ type }) => type === "tool_use" || type === "tool_result").slice(-mostSteps);
  return [
    "## What was done before",
    `${who} worked on phase \`${entry.phase}\` of this ticket in a conversation that you do not see. ${outcome(entry)}`,
    ...quoted("Why it ended", entry.status === "success" ? "" : (entry.reason ?? ""), reasonLimit),
    ...quoted(`Tools it used: ${counts(events) || "none"}. Its last steps`, steps.map(transcriptText).join("\n"), stepsLimit),
    ...quoted("Files it changed", filesChanged(events, cwd).join("\n"), filesLimit),
    ...quoted("What it said last", texts.slice(-3).join("\n\n"), saidLimit),
    "Its work is in this worktree as far as it got: look at `git status` and `git log` first. Build on what is right, and do not do it again.",
  ].join("\n\n");
}

function outcome({ status, category }: Pick<HistoryEntry, "status" | "category">): string {
  switch (status) {
    case "success":
      return "It came to its end, and the work went on from there.";
    case "failure":
      return `What it did was not accepted${category === undefined ? "" : ` (${category})`}.`;
    default:
      return `It was cut off before it was done${category === undefined ? "" : ` (${category})`}.`;
  }
}

function quoted(title: string, text: string, limit: number): string[] {
  const tail = text.length > limit ? `[…]\n${text.slice(-limit)}` : text;
  return tail.trim() === "" ? [] : [`${title}, quoted:\n\n${fenced(tail)}`];
}

/** `Bash 12, Edit 4`, most used first; a name comes from the agent's servers, so it is held short. */
function counts(events: readonly AgentEvent[]): string {
  const used = new Map<string, number>();
  for (const event of events) {
    if (event.type !== "tool_use") continue;
    const name = event.tool.replace(/[^\w.-]/g, "").slice(0, 40);
    used.set(name, (used.get(name) ?? 0) + 1);
  }
  const most = [...used].toSorted(([, a], [, b]) => b - a).slice(0, 12);
  return most.map(([name, times]) => `${name} ${times}`).join(", ");
}

/** Paths that tools for editing were given, whatever their vendor calls them, the latest last. */
function filesChanged(events: readonly AgentEvent[], cwd: string): string[] {
  const paths = events.flatMap((event) => {
    if (event.type !== "tool_use" || !/write|edit|patch|replace|file_change|create/i.test(event.tool)) return [];
    return pathsOf(event.input);
  });
  // The last mention counts, or a cut-off list would lose what was worked on at the end.
  const latest = [...new Set(paths.toReversed())].toReversed();
  return latest.map((path) => {
    const inside = relative(cwd, path);
    return inside === "" || inside.startsWith("..") ? path : inside;
  });
}

function pathsOf(input: unknown): string[] {
  if (typeof input !== "object" || input === null) return [];
  const fields = input as Record<string, unknown>;
  if (Array.isArray(fields.changes)) return fields.changes.flatMap(pathsOf);
  if (typeof fields.clipped === "string") {
    const found = /"(?:file_path|filePath|notebook_path|path)":("(?:[^"\\]|\\.)*")/.exec(fields.clipped)?.[1];
    return found === undefined ? [] : [JSON.parse(found) as string];
  }
  const path = fields.file_path ?? fields.filePath ?? fields.notebook_path ?? fields.path;
  return typeof path === "string" ? [path] : [];
}
