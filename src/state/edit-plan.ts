import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { UserError } from "../domain/errors.ts";
import type { Plan } from "../domain/plan.ts";
import type { Ticket, TicketFile } from "../domain/ticket.ts";
import { disk, hasCode, linkExclusive, makeDir, makeDirBelow, namesIn, syncDir } from "./atomic-write.ts";
import { type IndexState, inTurn } from "./index-state.ts";
import { archiveDir, archivedPlanDir, planDir, plansDir, removedDir, revsDir, ticketFile, ticketsDir } from "./layout.ts";
import type { TrackedPlan, TrackedTicket } from "./load.ts";
import { removePlan } from "./look-at-plans.ts";
import type { PlanChange } from "./plans.ts";
import { showTicket } from "./ticket-steps.ts";
import { commitRevision } from "./tickets.ts";

/** What a person or a planner changes of a plan, decided already. */
export interface PlanEdits {
  /** Tickets that have no file yet. */
  added: readonly TicketFile[];
  /** Fields of plan.json to write, from plan.json as it is then. */
  change(present: Plan): PlanChange;
  changed: ReadonlyMap<string, Partial<TicketFile>>;
  removed: readonly string[];
}

/** Writes the files of new tickets, before the plan lists them. Throws a UserError where there is another file of that name. */
export async function writeTickets(state: IndexState, planId: string, tickets: readonly TicketFile[]): Promise<void> {
  if (tickets.length === 0) return;
  await makeDirBelow(planDir(state.stateDir, planId), ticketsDir(state.stateDir, planId));
  const fileOf = ({ ticketId }: TicketFile) => ticketFile(state.stateDir, planId, ticketId);
  for (const ticket of tickets) if (disk.lstatSync(fileOf(ticket), { throwIfNoEntry: false })) throw fileThere(fileOf(ticket));
  for (const ticket of tickets) {
    if (!(await linkExclusive(fileOf(ticket), `${JSON.stringify(ticket, undefined, 2)}\n`))) throw fileThere(fileOf(ticket));
  }
}

function fileThere(file: string): UserError {
  return new UserError(`There is a file ${file} already.`, { hint: "give the ticket another id", exit: "conflict" });
}

/** Commits other planner-owned fields of a ticket; a step on the ticket. Throws Fenced and system errors, with nothing committed. */
export async function editTicket(state: IndexState, entry: TrackedTicket, fields: Partial<TicketFile>): Promise<void> {
  const { truth, ref } = entry;
  if (!truth) throw new UserError(`Ticket ${ref.ticketId} cannot be read.`, { hint: entry.problem?.hint, exit: "invalid" });
  const next = { ...truth.ticket, ...fields } as Ticket;
  if (isDeepStrictEqual(next, truth.ticket)) return;
  entry.truth = await commitRevision(ref, truth, next);
  entry.ticket = entry.truth.ticket;
  await showTicket(state, entry);
}

/**
 * Puts the files of a ticket that the plan no longer lists out of the way; a step on the ticket. They are kept with the plan.
 * Done again after a crash it does the rest.
 */
export async function removeTicket(state: IndexState, plan: TrackedPlan, entry: TrackedTicket): Promise<void> {
  const { stateDir, planId, ticketId } = entry.ref;
  const kept = join(removedDir(stateDir, planId), `${ticketId}.${state.now()}`);
  await makeDirBelow(planDir(stateDir, planId), kept);
  await moveIfThere(revsDir(stateDir, planId, ticketId), join(kept, "revs"));
  await moveIfThere(entry.file, join(kept, `${ticketId}.json`));
  await syncDir(ticketsDir(stateDir, planId));
  plan.tickets.delete(ticketId);
  state.hintedTickets.delete(entry);
  state.ticketRing = undefined;
}

async function moveIfThere(from: string, to: string): Promise<void> {
  try {
    await disk.rename(from, to);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}

/**
 * Puts a plan away, out of the folder of plans, as it is. Gives its new place. Throws a UserError (conflict) where one of
 * its id was put away before, and system errors; the plan is where it was then.
 */
export async function archivePlan(state: IndexState, plan: TrackedPlan): Promise<string> {
  const { stateDir } = state;
  const target = archivedPlanDir(stateDir, plan.id);
  await makeDir(archiveDir(stateDir));
  if (namesIn(archiveDir(stateDir)).includes(plan.id)) {
    throw new UserError(`A plan "${plan.id}" was put away before: ${target}`, { hint: "rename that folder first", exit: "conflict" });
  }
  // Whatever is under way on its files comes to its end before they move.
  await Promise.all([plan, ...plan.tickets.values()].map((entry) => inTurn(entry, async () => undefined)));
  await disk.rename(planDir(stateDir, plan.id), target);
  await syncDir(plansDir(stateDir));
  await syncDir(archiveDir(stateDir));
  removePlan(state, plan.id);
  return target;
}
