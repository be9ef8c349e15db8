import type { Ticket } from "../domain/ticket.ts";

/** The tickets that have a run, for people: `auth/T-1 (implement, since 2026-11-21T12:00:00.000Z)`, with commas. */
export function runningText(running: readonly { planId: string; ticket: Ticket }[]): string {
  return running
    .map(({ planId, ticket: { ticketId, currentPhase, activity } }) => {
      const since = activity.state === "running" ? `, since ${activity.since}` : "";
      return `${planId}/${ticketId} (${currentPhase}${since})`;
    })
    .sort()
    .join(", ");
}
