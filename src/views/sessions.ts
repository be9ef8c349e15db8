import type { Session } from "../domain/session.ts";
import type { HistoryEntry, Ticket } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";

/** One conversation of a ticket with an agent. */
export interface SessionRow {
  phase: string;
  status: HistoryEntry["status"] | "running";
  startedAt: Instant;
  completedAt: Instant | null;
  session: Session;
  /** Who took it over from the agent. */
  by?: string;
}

/** The conversations of a ticket, oldest first, whatever the vendor; of one phase when it is named. */
export function sessionRows(ticket: Ticket, phase?: string): SessionRow[] {
  const rows: SessionRow[] = ticket.phaseHistory.flatMap(({ phase, status, startedAt, completedAt, session, by }) =>
    session ? [{ phase, status, startedAt, completedAt, session, ...(by === undefined ? {} : { by }) }] : [],
  );
  const { activity, currentSession, currentPhase } = ticket;
  if (activity.state === "running" && currentSession && currentPhase !== null) {
    rows.push({ phase: currentPhase, status: "running", startedAt: activity.since, completedAt: null, session: currentSession });
  }
  return phase === undefined ? rows : rows.filter((row) => row.phase === phase);
}
