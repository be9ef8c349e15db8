/** No schema library here: what shows a status has to start fast. */
import type { Hold } from "./plan.ts";
import type { Activity, TicketFile, TicketStatus } from "./ticket.ts";

export const ticketStatuses = [
  "queued",
  "ready",
  "running",
  "waiting",
  "awaiting_approval",
  "paused",
  "complete",
  "failed",
  "needs_attention",
  "skipped",
  "cancelled",
] as const;

/** The status people see: a hold shows as `paused` unless the ticket has ended. */
export function statusOf(ticket: { activity: Activity; hold: Hold | null }): TicketStatus {
  const { activity, hold } = ticket;
  if (activity.state === "finished") return activity.outcome;
  if (hold) return "paused";
  return activity.state === "awaiting" ? "awaiting_approval" : activity.state;
}

/**
 * The activity that a file without one means: files of the first seed carry only a status.
 * `running` there is a run of a program that is gone, so the phase starts again; a `paused` one also needs a hold.
 */
export function activityOf(file: Pick<TicketFile, "status" | "currentPhase" | "phaseHistory">): Activity {
  switch (file.status) {
    case "queued":
      return { state: "queued" };
    case "paused":
      return file.phaseHistory.length === 0 ? { state: "queued" } : { state: "ready", cause: "resume" };
    case "complete":
    case "failed":
    case "needs_attention":
    case "skipped":
    case "cancelled":
      return { state: "finished", outcome: file.status, at: file.phaseHistory.at(-1)?.completedAt ?? "" };
    default:
      return file.currentPhase === null ? { state: "queued" } : { state: "ready", cause: "resume" };
  }
}
