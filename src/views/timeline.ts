import type { Instant } from "../domain/time.ts";

/** What views need of a line of journal.jsonl. */
export interface TimelineEvent {
  at: Instant;
  type: string;
  ticketId?: unknown;
  phase?: unknown;
  from?: unknown;
  status?: unknown;
  reason?: unknown;
  runId?: unknown;
  by?: unknown;
  message?: unknown;
}

/** One event of a plan's journal as people read it: what happened, in which phase, and what the ticket is now. */
export function timelineText(event: TimelineEvent): string {
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  const status = text(event.status);
  const parts = [
    text(event.ticketId),
    event.type.replaceAll("_", " "),
    text(event.phase),
    status === "" ? "" : event.from === event.status ? `[${status}]` : `[${text(event.from)} → ${status}]`,
  ];
  const said = event.type === "sent" || event.type === "taken_over" || event.type === "handed_back";
  const reason = said ? [`by ${text(event.by)}`, text(event.message)].filter((part) => part !== "").join(": ") : text(event.reason);
  return `${parts.filter((part) => part !== "").join("  ")}${reason === "" ? "" : `  ${reason}`}`;
}
