import { isDeepStrictEqual } from "node:util";
import { UserError } from "../domain/errors.ts";
import type { Intent } from "../domain/event.ts";
import { runnerOwned, type Ticket } from "../domain/ticket.ts";
import { systemCode } from "./atomic-write.ts";
import type { Change } from "./index.ts";
import { type IndexState, keepInTrash, trashMs } from "./index-state.ts";
import type { TrackedTicket } from "./load.ts";
import { foldEdit } from "./merge-edit.ts";
import { project } from "./projection.ts";
import { commitRevision, digestOf, parseTicket, readBase } from "./tickets.ts";

/** Each of these is one step on a ticket: callers see to it that no two of them are under way on the same ticket. */

/** Begins the ids of intents that edits of files ask for. */
const editPrefix = "edit-";

/** Makes the ticket's file show the truth; where the disk refuses, the next poll does. */
export async function showTicket(state: IndexState, entry: TrackedTicket): Promise<void> {
  if (!entry.truth || entry.truth.highest < 0) return;
  const { planId } = entry.ref;
  try {
    const shown = await project(entry.ref, entry.truth);
    keepInTrash(state, planId, shown.trash, shown.result === "written" ? state.now() + trashMs : 0);
    entry.signature = shown.result === "written" ? shown.signature : undefined;
  } catch (error) {
    // The revision is the truth and it is on disk; the public file follows with the next poll.
    if (systemCode(error) === undefined) throw error;
    entry.signature = undefined;
    state.straysIn.add(planId);
  }
  if (entry.signature === undefined) state.hintedTickets.add(entry);
}

/** Folds the text of an edited file, wherever it lies, into the ticket. Throws Unreadable, Fenced and system errors. */
export async function foldText(state: IndexState, entry: TrackedTicket, text: string, file: string): Promise<Change | undefined> {
  const { ref, truth } = entry;
  const { ticket: parsed, edit } = parseTicket(text, file, ref);
  if (!truth) return undefined;
  const digest = digestOf(text);
  const change: Change = { planId: ref.planId, ticketId: ref.ticketId, kind: "changed" };
  const uncommitted = truth.highest < 0;
  const base = uncommitted ? { ...truth.ticket, status: truth.fileStatus ?? truth.ticket.status } : readBase(ref, edit.rev ?? 0);
  const { ticket: folded, intents, refused, notes } = foldEdit(base ?? truth.ticket, edit, truth.ticket);
  const ticket = withRefusal(folded, refused.join("; ") || undefined);
  if (notes.length > 0) change.notes = notes;
  if (uncommitted && intents.length === 0 && refused.length === 0) {
    entry.truth = { ...truth, ticket, known: [digest], fileStatus: parsed.status };
  } else {
    const name = (position: number) => `${editPrefix}${digest.slice(0, 22)}-${position}`;
    const pending = intents
      .map((intent: Intent, position: number) => ({ id: name(position), intent }))
      .filter(({ id }) => !truth.applied.includes(id) && !truth.pending.some((waiting) => waiting.id === id));
    const says = pending.length > 0 || !isDeepStrictEqual(ticket, truth.ticket);
    // An edit that changes nothing needs no revision; folded again after a crash it changes nothing again.
    entry.truth = says
      ? await commitRevision(ref, truth, ticket, { folded: digest, pending })
      : { ...truth, known: [digest, ...truth.known] };
    entry.undelivered = entry.truth.pending.length > 0;
    await showTicket(state, entry);
    if (!says && notes.length === 0) return undefined;
  }
  entry.ticket = entry.truth.ticket;
  return change;
}

/** Characters of it that are kept. */
const longestRefusal = 1000;

function withRefusal(ticket: Ticket, refused: string | undefined): Ticket {
  const { refusedEdit: _earlier, ...rest } = ticket;
  return (refused === undefined ? rest : { ...rest, refusedEdit: refused.slice(0, longestRefusal) }) as Ticket;
}

/**
 * Commits the runner-owned fields of `ticket`; `settled` names the intent that this applies or refuses, `refused` says
 * why an intent that an edit of the file asked for was not followed, and is kept with the ticket. Throws Fenced,
 * system errors (nothing is committed then), and an Error for a ticket that a later commit outdated.
 */
export async function commitTicket(
  state: IndexState,
  entry: TrackedTicket,
  ticket: Ticket,
  settled: string | undefined,
  refused: string | undefined,
): Promise<Ticket> {
  const { truth, ref } = entry;
  if (!truth) throw new UserError(`Ticket ${ref.ticketId} cannot be read.`, { hint: entry.problem?.hint, exit: "invalid" });
  if (ticket.rev < entry.runnerRev) {
    throw new Error(`${ref.planId}/${ref.ticketId}: revision ${ticket.rev} was outdated by ${entry.runnerRev} before it was committed`);
  }
  const merged: Record<string, unknown> = { ...truth.ticket };
  for (const key of runnerOwned) if (key !== "refusedEdit") merged[key] = ticket[key];
  const hasMoved = ticket.currentPhase !== truth.ticket.currentPhase || ticket.activity.state !== truth.ticket.activity.state;
  const ofEdit = settled?.startsWith(editPrefix) ? refused : undefined;
  const next = withRefusal(merged as Ticket, ofEdit ?? (hasMoved ? undefined : truth.ticket.refusedEdit));
  entry.truth = await commitRevision(ref, truth, next, settled === undefined ? {} : { settled });
  entry.ticket = entry.truth.ticket;
  const committed = entry.ticket;
  entry.runnerRev = committed.rev;
  await showTicket(state, entry);
  return committed;
}
