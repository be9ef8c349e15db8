/** What is known of ticket files without their schema, which takes longer to load than a whole list of tickets. */
import type { Ticket, TicketFile } from "../domain/ticket.ts";
import { activityOf, statusOf } from "../domain/ticket-status.ts";

/** Characters that one field of a ticket may have. */
export const longestText = 256 * 1024;

/** A file's ticket as the engine sees it. A `paused` one without an activity gets the hold that it means, dated `at`. */
export function toTicket(file: TicketFile, rev: number, at: string): Ticket {
  const activity = file.activity ?? activityOf(file);
  const hold =
    file.hold ?? (file.activity === undefined && file.status === "paused" ? { by: "file", at, reason: "paused in the file" } : null);
  return { ...file, rev, activity, hold, status: statusOf({ activity, hold }) };
}
