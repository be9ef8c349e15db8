import { isDeepStrictEqual } from "node:util";
import type { Intent } from "../domain/event.ts";
import { runnerOwned, type Ticket, type TicketFile, type TicketStatus } from "../domain/ticket.ts";
import { statusOf } from "../domain/ticket-status.ts";

/** An edited file. Runner-owned fields that it does not carry at all are absent: they express no wish. */
export type TicketEdit = Partial<TicketFile>;

export interface Folded {
  ticket: Ticket;
  /** What the author asked for by changing `status` or `currentPhase`. */
  intents: Intent[];
  /** Why other changes of the author were not followed, for people. */
  refused: string[];
  /** Those, and what else became of the author's changes. */
  notes: string[];
}

const runner: ReadonlySet<string> = new Set(runnerOwned);
/** A file cannot change whose it is. */
const fixed: ReadonlySet<string> = new Set(["schema", "planId", "ticketId"]);

/**
 * Merges an edited ticket file into the present ticket. `base` is the revision that the author read: what the author
 * left as it was there keeps its present value, what the author changed wins. Runner-owned fields never change here;
 * a changed `status` or `currentPhase` becomes the intent it means. With a `base` of another number than the file
 * carries (the right one is no longer kept) those two say nothing reliable, and neither does a field that is absent.
 */
export function foldEdit(base: Ticket, theirs: TicketEdit, ours: Ticket): Folded {
  const replaced: string[] = [];
  const refused: string[] = [];
  const exact = (theirs.rev ?? 0) === base.rev;
  const merged: Record<string, unknown> = { ...ours };
  for (const key of new Set([...Object.keys(base), ...Object.keys(theirs), ...Object.keys(ours)])) {
    if (fixed.has(key) || runner.has(key) || isDeepStrictEqual(theirs[key], base[key])) continue;
    if (!exact && !Object.hasOwn(theirs, key)) continue;
    if (!isDeepStrictEqual(ours[key], base[key]) && !isDeepStrictEqual(ours[key], theirs[key])) {
      replaced.push(`${key}: replaced ${excerpt(ours[key])}, which somebody else had written meanwhile`);
    }
    if (Object.hasOwn(theirs, key)) merged[key] = theirs[key];
    else delete merged[key];
  }
  for (const key of exact ? runnerOwned : []) {
    if (key === "rev" || key === "status" || key === "currentPhase" || theirs[key] === undefined) continue;
    if (!isDeepStrictEqual(theirs[key], base[key])) refused.push(`${key}: only the runner writes this field; the edit is ignored`);
  }
  const intents = wishes(base, theirs, ours, exact, refused);
  return { ticket: merged as Ticket, intents, refused, notes: [...replaced, ...refused] };
}

function wishes(base: Ticket, theirs: TicketEdit, ours: Ticket, exact: boolean, refused: string[]): Intent[] {
  const to = { planId: ours.planId, ticketId: ours.ticketId, by: "file" };
  const before = base.status;
  const now = statusOf(ours);
  const wanted = theirs.status === before ? undefined : theirs.status;
  const phase = theirs.currentPhase === base.currentPhase ? undefined : theirs.currentPhase;
  if (wanted === undefined && phase === undefined) return [];
  if (!exact) {
    refused.push("status, currentPhase: the file was made from a revision that is no longer kept; save it again from the present one");
    return [];
  }
  const intents: Intent[] = [];
  if (phase === null) refused.push("currentPhase: emptying it has no meaning; name the phase to go to");
  const skips = typeof phase === "string" && phase !== ours.currentPhase;
  if (wanted === "cancelled") {
    if (now === "cancelled") return [];
    return [{ type: "cancel", ...to, reason: "cancelled in the file" }];
  }
  if (wanted === "paused" && now !== "paused") intents.push({ type: "pause", ...to, reason: "paused in the file" });
  if (skips) intents.push({ type: "skip", ...to, phase });
  if (wanted === "ready" || wanted === "queued") {
    if (before === "paused") {
      if (ours.hold) intents.push({ type: "resume", ...to });
    } else if (restartable.has(before)) {
      // A skip already makes the ticket ready.
      if (now === before && !skips) intents.push({ type: "retry", ...to });
    } else if (!skips) {
      refused.push(`status: a ${before} ticket cannot be set to ${wanted} by hand${hintFor(before)}`);
    }
  } else if (wanted !== undefined && wanted !== "paused" && wanted !== now) {
    refused.push(`status: ${wanted} cannot be set by hand; to go on elsewhere set currentPhase, or run: orchestrator skip`);
  }
  return intents;
}

const restartable: ReadonlySet<TicketStatus> = new Set(["failed", "needs_attention", "complete", "skipped", "cancelled", "waiting"]);

function hintFor(status: TicketStatus): string {
  if (status === "awaiting_approval") return "; run: orchestrator approve, or orchestrator reject";
  return "; it goes on by itself";
}

function excerpt(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
