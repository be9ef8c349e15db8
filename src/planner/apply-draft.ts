import type { PlanDraft, TicketDraft } from "../domain/draft.ts";
import { type Finding, UserError } from "../domain/errors.ts";
import type { PlanEdit, PlanFields, TicketChange } from "../domain/plan-edit.ts";
import type { Ticket } from "../domain/ticket.ts";
import { hasBegun } from "../engine/edit-plan.ts";
import type { PlanView } from "../engine/world.ts";
import { changePlan } from "./change-plan.ts";
import type { Place } from "./check-draft.ts";
import { planDraftOf, ticketDraftOf } from "./plan-draft.ts";
import { readPlans } from "./read-plans.ts";
import { settleDraft } from "./settle-draft.ts";
import type { Bench } from "./tool.ts";
import { writePlan } from "./write-plan.ts";

/** What became of a draft that was to be applied. Ids are those that the plan's tickets have on disk. */
export interface Applied {
  result: "written" | "changed" | "unchanged" | "queued" | "refused" | "declined";
  planId: string;
  /** Of a plan that was written. */
  status?: "draft" | "active";
  message: string;
  added: string[];
  changed: string[];
  removed: string[];
  /** Tickets that the draft would change and that have begun, with why they were left alone. */
  left: { ticketId: string; reason: string }[];
  /** Tickets of the plan that the draft does not have. */
  missing: string[];
  /** Errors say why nothing was done; warnings are about what was. */
  findings: Finding[];
}

export interface ApplyOptions {
  /** The plan that the draft was made from by an edit of the whole: what differs from it was meant, also what is not there any more. */
  editOf?: PlanView;
  /** As for checkDraft(), for a plan that is not there yet. */
  place?: Place;
}

/**
 * Brings a plan in line with a draft: writes it where there is none; else adds what is new and changes what has not begun.
 * Tickets are found again by their source, else by their id. What the draft leaves out or empty stays as it is, and
 * tickets that have begun stay as they are. Doing it twice changes nothing the second time.
 */
export async function applyDraft(draft: PlanDraft, bench: Bench, { editOf, place }: ApplyOptions = {}): Promise<Applied> {
  const settled = settleDraft(draft, bench);
  const world = readPlans(bench.config);
  const broken = world.brokenPlans.get(settled.id);
  if (broken !== undefined) throw new UserError(`Plan "${settled.id}" cannot be read: ${broken}`, { exit: "invalid" });
  // What has come to the plan since it was opened is not what was edited, and stays.
  const view = editOf ?? world.plans.get(settled.id);
  if (!view) return writeNew(settled, bench, place);
  const merge = mergeDraft(view, settled, editOf !== undefined);
  const { added, changed, removed, left, missing } = merge;
  const base = { planId: settled.id, left, missing };
  const none = { added: [], changed: [], removed: [] };
  if (merge.edits.length === 0) {
    return { result: "unchanged", ...base, ...none, message: `Nothing to do: plan "${settled.id}" is so already.`, findings: [] };
  }
  const { result, message, findings } = await changePlan(settled.id, merge.edits, bench);
  const isDone = result === "changed" || result === "queued";
  return { result, ...base, ...(isDone ? { added, changed, removed } : none), message, findings };
}

async function writeNew(draft: PlanDraft, bench: Bench, place: Place | undefined): Promise<Applied> {
  const written = await writePlan(draft, bench, place);
  const base = { planId: draft.id, changed: [], removed: [], left: [], missing: [], findings: written.findings };
  switch (written.result) {
    case "written": {
      const message = `Plan "${draft.id}" is written, as ${written.status === "draft" ? "a draft" : "an active one"}.`;
      return { ...base, result: "written", status: written.status, message, added: draft.tickets.map(({ id }) => id) };
    }
    case "refused":
      return { ...base, result: "refused", message: "Nothing was written.", added: [] };
    case "declined":
      return { ...base, result: "declined", message: "declined: the person said no, and nothing was written.", added: [] };
  }
}

/** What a draft comes to where its plan exists already. */
export interface Merge extends Pick<Applied, "added" | "changed" | "removed" | "left" | "missing"> {
  edits: PlanEdit[];
}

/** What has to be done to a plan to bring it in line with a draft whose paths are whole ones. */
export function mergeDraft(view: PlanView, draft: PlanDraft, exact: boolean): Merge {
  const known = counterparts([...view.tickets.values()], draft.tickets);
  const ids = new Map(draft.tickets.map(({ id }) => [id, known.get(id)?.ticketId ?? id]));
  const managed = new Set(ids.values());
  const merge: Merge = { edits: [], added: [], changed: [], removed: [], left: [], missing: [] };
  const fields = fieldChanges(view, draft, exact);
  if (Object.keys(fields).length > 0) merge.edits.push({ do: "plan", set: fields });
  for (const ticket of draft.tickets) {
    const id = ids.get(ticket.id) ?? ticket.id;
    const blockedBy = [...new Set(ticket.blockedBy.map((blocker) => ids.get(blocker) ?? blocker))];
    const ours = known.get(ticket.id);
    if (!ours) {
      merge.edits.push({ do: "add", ticket: { ...ticket, id, blockedBy } });
      merge.added.push(id);
      continue;
    }
    // What a person made it wait for besides stays.
    const kept = ticketDraftOf(view, ours).blockedBy.filter((blocker) => !managed.has(blocker) && !exact);
    const set = ticketChanges(ticketDraftOf(view, ours), { ...ticket, id, blockedBy: [...blockedBy, ...kept] }, exact);
    if (Object.keys(set).length === 0) continue;
    // Of what a person asked for in so many words, the rules say what can be.
    if (hasBegun(ours) && !exact) {
      merge.left.push({ ticketId: id, reason: `it has begun (${ours.status}); different in the draft: ${Object.keys(set).join(", ")}` });
      continue;
    }
    merge.edits.push({ do: "change", ticketId: id, set });
    merge.changed.push(id);
  }
  // What cannot be read was not there to be kept or left out.
  const gone = view.plan.tickets.map(({ ticketId }) => ticketId).filter((id) => !managed.has(id) && (!exact || view.tickets.has(id)));
  if (!exact) return { ...merge, missing: gone };
  for (const ticketId of gone) merge.edits.push({ do: "remove", ticketId });
  return { ...merge, removed: gone };
}

/** The tickets on disk that drafts mean, by the id of the draft: those from the same source, else those of the same id that are from no other. */
function counterparts(present: readonly Ticket[], drafts: readonly TicketDraft[]): Map<string, Ticket> {
  const known = new Map<string, Ticket>();
  for (const { id, source } of drafts) {
    const same = source && present.find((ticket) => ticket.source?.kind === source.kind && ticket.source.id === source.id);
    if (same) known.set(id, same);
  }
  const left = present.filter((ticket) => ![...known.values()].includes(ticket));
  for (const { id, source } of drafts) {
    const same = left.find((ticket) => ticket.ticketId === id && (ticket.source === null || source === undefined));
    if (same && !known.has(id)) known.set(id, same);
  }
  return known;
}

function ticketChanges(before: TicketDraft, after: TicketDraft, exact: boolean): TicketChange {
  const { id: _before, blockedBy: was, ...old } = before;
  const { id: _after, blockedBy: is, ...next } = after;
  return { ...differences(old, next, exact), ...(sameSet(was, is) ? {} : { blockedBy: is }) };
}

function fieldChanges(view: PlanView, draft: PlanDraft, exact: boolean): PlanFields {
  const { id: _before, tickets: _old, ...old } = planDraftOf(view);
  const { id: _after, tickets: _new, ...next } = draft;
  // A plan without a name is shown by its id.
  return differences(old, { ...next, name: next.name || old.name }, exact);
}

/** What is to be set. Unless it is to be `exact`, what `next` leaves out or empty stays. */
function differences(old: object, next: object, exact: boolean): object {
  const keys = new Set([...Object.keys(next), ...(exact ? Object.keys(old) : [])]);
  // Where a ticket came from does not change because somebody left it out.
  if ((next as { source?: unknown }).source === undefined) keys.delete("source");
  const value = (holder: object, key: string) => (holder as Record<string, unknown>)[key];
  const changes = [...keys].filter((key) => {
    if (!exact && isEmpty(value(next, key))) return false;
    return JSON.stringify(value(next, key)) !== JSON.stringify(value(old, key));
  });
  return Object.fromEntries(changes.map((key) => [key, value(next, key) ?? (key === "onBlockerFailed" ? "wait" : null)]));
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === "" || (Array.isArray(value) && value.length === 0);
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((id) => b.includes(id));
}
