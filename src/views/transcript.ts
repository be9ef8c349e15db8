import type { AgentEvent } from "../domain/session.ts";

const longestInput = 160;
const longestOutput = 200;

/** One event of an agent's transcript as people read it; undefined for those that only programs need. */
export function transcriptText(event: AgentEvent): string | undefined {
  switch (event.type) {
    case "session":
      return `session ${event.session.provider} ${event.session.id}`;
    case "text":
      return event.text;
    case "tool_use":
      return `▸ ${event.tool} ${shortened(inputText(event.input), longestInput)}`.trimEnd();
    case "tool_result":
      return `  ${event.isError ? "✗" : "✓"} ${shortened(event.output, longestOutput)}`.trimEnd();
    case "retry":
      return `retry${event.attempt === undefined ? "" : ` ${event.attempt}`}: ${event.reason}`;
    case "limit":
      return event.status === "ok" ? undefined : `usage limit: ${event.status}${event.resetsAt ? `, resets at ${event.resetsAt}` : ""}`;
    case "warning":
      return `warning: ${event.message}`;
    case "result":
      return event.ok ? undefined : `result: failed${event.text ? `: ${event.text}` : ""}`;
    case "usage":
      return undefined;
  }
}

/** What a tool is to do: its one telling argument where there is one. */
function inputText(input: unknown): string {
  if (typeof input !== "object" || input === null) return typeof input === "string" ? input : "";
  const fields = input as Record<string, unknown>;
  for (const name of ["command", "file_path", "path", "pattern", "url", "query", "description"]) {
    const value = fields[name];
    if (typeof value === "string") return value;
    if (Array.isArray(value)) return value.join(" ");
  }
  return JSON.stringify(input);
}

function shortened(text: string, longest: number): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
}
