import type { TicketEvent } from "../domain/event.ts";
import type { ExitRecord, Observation } from "../domain/run.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";

/** What is to be done about a run that the state calls running. */
export type Recovery =
  | { do: "nothing" }
  /** Nobody has started it: claim it as revoked, then look again. */
  | { do: "revoke"; runId: string }
  /** It lives: wait for its end. Its stop is asked for again if one was. */
  | { do: "adopt"; runId: string; stopAgain: boolean }
  /** It has ended: read its result. */
  | { do: "consume"; runId: string; exit: ExitRecord }
  | { do: "event"; event: TicketEvent };

/**
 * What a daemon does about a ticket's run, from what is found of it. Watching a run, starting a daemon and recovering from
 * a crash are the same thing: all ask this for every running ticket.
 */
export function recover(ticket: Ticket, found: Observation, at: Instant): Recovery {
  const { activity } = ticket;
  if (activity.state !== "running") return { do: "nothing" };
  const { runId } = activity;
  switch (found.state) {
    case "unclaimed":
      return { do: "revoke", runId };
    case "running":
      return { do: "adopt", runId, stopAgain: activity.stop !== undefined };
    case "finished":
      return { do: "consume", runId, exit: found.exit };
    case "revoked":
      return { do: "event", event: { type: "interrupted", at, runId, reason: "It was never started." } };
    case "lost":
      // While they live, another run would be the second one of its ticket.
      if (found.survivors !== undefined) {
        const reason = `Processes of the run would not die: ${found.survivors.join(", ")}. End them, then retry.`;
        return { do: "event", event: { type: "faulted", at, runId, reason } };
      }
      return { do: "event", event: { type: "lost", at, runId, reason: found.reason } };
  }
}
