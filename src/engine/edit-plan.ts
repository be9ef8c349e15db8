import { blockerCycles } from "../domain/blocker-cycles.ts";
import type { TicketDraft } from "../domain/draft.ts";
import { suggestion } from "../domain/errors.ts";
import { caseFold } from "../domain/ids.ts";
import type { Plan } from "../domain/plan.ts";
import type { PlanEdit, PlanFields, TicketChange } from "../domain/plan-edit.ts";
import type { Ticket, TicketFile } from "../domain/ticket.ts";
import { type PlanView, ticketIds } from "./world.ts";

/** Fields of a ticket that a change sets. */
export type TicketFields = Partial<TicketFile>;

/** What edits come to. */
export interface EditedPlan {
  /** Tickets that have no file yet. */
  added: TicketDraft[];
  changed: Map<string, TicketFields>;
  removed: string[];
  /** Fields of plan.json but for its list. */
  fields: Partial<Pick<Plan, keyof PlanFields>>;
  /** The plan's list with everything done, from the list as it is then. Nothing else of it changes. */
  list(present: Plan["tickets"]): Plan["tickets"];
  /** What was done, in words; empty when everything is so already. */
  done: string[];
}

/** Fields that decide where and how a ticket is worked: they stand once it has begun. */
const fixedOnceBegun = ["repo", "workflow", "branch"] as const;
/** The same of a plan, once any of its tickets has. */
const planFixedOnceBegun = ["repo", "workflow", "worktreeRoot", "baseBranch"] as const;
/** Nobody takes a ticket up again that ended so. */
const settled: ReadonlySet<string> = new Set(["complete", "skipped", "cancelled"]);

/** Whether its first phase was started, ever. */
export function hasBegun(ticket: Ticket): boolean {
  return ticket.activity.state !== "queued" || ticket.phaseHistory.length > 0 || ticket.runs > 0;
}

/** Edits as they are being done. */
interface Work {
  view: PlanView;
  before: ReadonlyMap<string, string[]>;
  /** By ticket, what blocks it; its keys are the plan's tickets. */
  blockers: Map<string, string[]>;
  added: Map<string, TicketDraft>;
  changed: Map<string, TicketFields>;
  removed: Set<string>;
  fields: Record<string, unknown>;
  refused: string[];
  done: string[];
}

/**
 * What a list of edits makes of a plan: all of them, or none with the reasons. Doing the same edits again comes to nothing
 * being done, so that a crash half way is mended by doing them once more.
 */
export function editPlan(view: PlanView, edits: readonly PlanEdit[]): EditedPlan | { refused: string[] } {
  const before = new Map(view.plan.tickets.map((entry) => [entry.ticketId, entry.blockedBy]));
  const blockers = new Map(before);
  const work: Work = {
    view,
    before,
    blockers,
    added: new Map(),
    changed: new Map(),
    removed: new Set(),
    fields: {},
    refused: [],
    done: [],
  };
  for (const edit of edits) {
    if (edit.do === "add") addTicket(work, edit.ticket);
    else if (edit.do === "plan") changePlan(work, edit.set);
    else if (blockers.has(edit.ticketId) || (edit.do === "remove" && isLeftOver(work, edit.ticketId))) editTicket(work, edit);
    else work.refused.push(`plan "${view.plan.id}" has no ticket "${edit.ticketId}"${suggestion(edit.ticketId, blockers.keys())}`);
  }
  const { added, changed, removed, refused, done } = work;
  refused.push(...graphRefusals(before, blockers));
  if (blockers.size === 0 && removed.size > 0) {
    refused.push(`a plan needs a ticket; to give it up: orchestrator cancel-plan ${view.plan.id}`);
  }
  if (refused.length > 0) return { refused: [...new Set(refused)] };
  return {
    added: [...added.values()],
    changed,
    removed: [...removed].filter((id) => !blockers.has(id)),
    fields: work.fields,
    list: (present) => listOf(present, before, blockers),
    done,
  };
}

/** Why a plan cannot be put away, and what to do about it: it is not over, or, unless `failed` is allowed, not all went well. */
export function archiveRefusal(view: PlanView, failed: boolean): { message: string; hint: string } | undefined {
  const { id } = view.plan;
  const ids = [...ticketIds(view)];
  const broken = ids.filter((ticketId) => view.broken.has(ticketId) || !view.tickets.has(ticketId));
  const open = ids.filter((ticketId) => view.tickets.get(ticketId)?.activity.state !== "finished" && !broken.includes(ticketId));
  const failures = ids.filter((ticketId) => {
    const activity = view.tickets.get(ticketId)?.activity;
    return activity?.state === "finished" && (activity.outcome === "failed" || activity.outcome === "needs_attention");
  });
  const refusal = (message: string, hint: string) => ({ message: `Plan "${id}" is not over: ${message}.`, hint });
  if (broken.length > 0) return refusal(`${some(broken)} cannot be read`, "orchestrator check shows what is wrong");
  if (open.length > 0) {
    return refusal(`${some(open)} ${open.length === 1 ? "has" : "have"} not ended`, `to give it up: orchestrator cancel-plan ${id}`);
  }
  if (failures.length === 0 || failed) return undefined;
  return refusal(`${some(failures)} failed`, `orchestrator retry ${id} ${failures[0]}, or put it away as it is with --failed`);
}

function some(ids: readonly string[]): string {
  return ids.length > 5 ? `${ids.slice(0, 5).join(", ")} and ${ids.length - 5} more` : ids.join(", ");
}

function addTicket({ view, blockers, added, refused, done }: Work, ticket: TicketDraft): void {
  const { id, blockedBy } = ticket;
  const twin = [...blockers.keys(), ...view.tickets.keys(), ...view.broken.keys()].find((other) => caseFold(other) === caseFold(id));
  const present = view.tickets.get(id);
  const isSaidAgain = present !== undefined && saysTheSame(present, ticket);
  // It was added before, and who asked was not told; it may have begun since.
  if (isSaidAgain && isSame(blockers.get(id), [...new Set(blockedBy)])) return;
  // Its file may be there from an attempt that did not come to its end.
  if (twin !== undefined && (blockers.has(id) || !isSaidAgain || hasBegun(present))) {
    const unread = present === undefined && view.broken.get(twin);
    refused.push(`plan "${view.plan.id}" has a ticket "${twin}" already${unread ? `, which cannot be read: ${unread}` : ""}`);
    return;
  }
  if (present === undefined) added.set(id, ticket);
  blockers.set(id, [...new Set(blockedBy)]);
  done.push(`added ${id}`);
}

/** Whether there is a ticket that the list does not have: a crash may have come between the list and the file. */
function isLeftOver({ view, before, removed }: Work, id: string): boolean {
  return !before.has(id) && !removed.has(id) && (view.tickets.has(id) || view.broken.has(id));
}

function editTicket(work: Work, edit: Exclude<PlanEdit, { do: "add" | "plan" }>): void {
  const { blockers, removed, done, view } = work;
  const { ticketId } = edit;
  const present = blockers.get(ticketId) ?? [];
  switch (edit.do) {
    case "change": {
      const { blockedBy, ...set } = edit.set;
      if (blockedBy) setBlockers(work, ticketId, blockedBy);
      changeTicket(work, ticketId, set);
      return;
    }
    case "remove":
      if (isFixed(work, ticketId, `it cannot be removed; cancel it: orchestrator cancel ${view.plan.id} ${ticketId}`)) return;
      blockers.delete(ticketId);
      work.changed.delete(ticketId);
      // What these same edits have added is nowhere yet.
      if (!work.added.delete(ticketId)) removed.add(ticketId);
      done.push(`removed ${ticketId}`);
      return;
    case "depend":
      setBlockers(work, ticketId, [...present, edit.on]);
      return;
    case "undepend":
      setBlockers(
        work,
        ticketId,
        present.filter((id) => id !== edit.on),
      );
      return;
  }
}

function setBlockers(work: Work, id: string, next: readonly string[]): void {
  const now = work.blockers.get(id) ?? [];
  const more = next.filter((other) => !now.includes(other));
  const less = now.filter((other) => !next.includes(other));
  if (more.length > 0 && isFixed(work, id, "it can wait for nothing more; put what it lacks into a ticket of its own")) return;
  if (more.length > 0) work.done.push(`${id} waits for ${[...new Set(more)].join(", ")}`);
  if (less.length > 0) work.done.push(`${id} no longer waits for ${less.join(", ")}`);
  work.blockers.set(id, [...new Set(next)]);
}

function changeTicket(work: Work, id: string, set: Omit<TicketChange, "blockedBy">): void {
  const { added, changed, refused, view } = work;
  const draft = added.get(id);
  if (draft) {
    added.set(id, withoutNulls({ ...draft, ...set }) as TicketDraft);
    return;
  }
  const ticket = view.tickets.get(id);
  if (!ticket) {
    refused.push(`ticket "${id}" cannot be read: ${view.broken.get(id) ?? "it has no file"}`);
    return;
  }
  const changes = differences(fieldsOf(set), { ...ticket, ...changed.get(id) });
  const names = Object.keys(changes);
  if (names.length === 0) return;
  const { activity } = ticket;
  if (activity.state === "finished" && settled.has(activity.outcome)) {
    refused.push(`ticket "${id}" has ended (${activity.outcome}); add another ticket for what is left`);
    return;
  }
  const fixed = fixedOnceBegun.filter((key) => names.includes(key));
  if (fixed.length > 0 && isFixed(work, id, `its ${fixed.join(" and ")} can no longer change`)) return;
  changed.set(id, { ...changed.get(id), ...changes });
  work.done.push(`changed ${names.join(", ")} of ${id}`);
}

/** Whether a ticket has begun; then `what` is said to be refused for it. */
function isFixed({ view, refused }: Work, id: string, what: string): boolean {
  const ticket = view.tickets.get(id);
  if (ticket === undefined || !hasBegun(ticket)) return false;
  refused.push(`ticket "${id}" has begun (${ticket.status}), so ${what}`);
  return true;
}

function changePlan({ view, fields, refused, done }: Work, set: PlanFields): void {
  const changes = differences(set, { ...view.plan, ...fields });
  const names = Object.keys(changes);
  const fixed = planFixedOnceBegun.filter((key) => names.includes(key));
  const begun = [...view.tickets.values()].find(hasBegun);
  if (fixed.length > 0 && begun) {
    refused.push(`ticket "${begun.ticketId}" has begun, so the plan's ${fixed.join(" and ")} can no longer change`);
    return;
  }
  Object.assign(fields, changes);
  if (names.length > 0) done.push(`changed ${names.join(", ")} of the plan`);
}

/** What of `set` is not so in `present`. */
function differences(set: object, present: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(set).filter(([key, value]) => value !== undefined && !isSame(value, present[key])));
}

/** What the edits would leave behind that no plan may have; what was so before is not theirs. */
function graphRefusals(before: ReadonlyMap<string, string[]>, after: ReadonlyMap<string, string[]>): string[] {
  const refused: string[] = [];
  for (const [id, blockedBy] of after) {
    for (const other of blockedBy) {
      if (after.has(other)) continue;
      if (before.has(other)) refused.push(`ticket "${id}" waits for "${other}"; take that out first`);
      else if (!before.get(id)?.includes(other)) {
        refused.push(`ticket "${id}" is blocked by "${other}", which the plan does not have${suggestion(other, after.keys())}`);
      }
    }
  }
  const cycles = (graph: ReadonlyMap<string, string[]>) =>
    blockerCycles([...graph].map(([ticketId, blockedBy]) => ({ ticketId, blockedBy }))).map((cycle) => cycle.join(" -> "));
  const known = new Set(cycles(before));
  for (const cycle of cycles(after)) if (!known.has(cycle)) refused.push(`tickets would wait for each other in a circle: ${cycle}`);
  return refused;
}

/** Carries the difference between two graphs over to a list, whatever else has come to be in it. */
function listOf(present: Plan["tickets"], before: ReadonlyMap<string, string[]>, after: ReadonlyMap<string, string[]>): Plan["tickets"] {
  const kept = present.flatMap((entry) => {
    const next = after.get(entry.ticketId);
    if (next === undefined) return before.has(entry.ticketId) ? [] : [entry];
    return [isSame(next, before.get(entry.ticketId)) ? entry : { ...entry, blockedBy: next }];
  });
  const last = Math.max(0, ...present.map(({ order }) => order));
  const added = [...after].filter(([id]) => !present.some(({ ticketId }) => ticketId === id));
  return [...kept, ...added.map(([ticketId, blockedBy], i) => ({ ticketId, order: last + i + 1, blockedBy }))];
}

/** Whether a ticket's file is what this draft would be written as, as far as the draft says anything. */
function saysTheSame(ticket: Ticket, { id: _, blockedBy: __, ...draft }: TicketDraft): boolean {
  return Object.entries(draft).every(([key, value]) => value === undefined || isSame(value, ticket[key]));
}

function fieldsOf(set: Omit<TicketChange, "blockedBy">): TicketFields {
  const url = set.source?.url;
  const known = Object.entries(set).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(known), ...(url === undefined ? {} : { linearUrl: url }) };
}

function withoutNulls(set: object): object {
  return Object.fromEntries(Object.entries(set).filter(([, value]) => value !== null));
}

/** Of JSON values. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
}
