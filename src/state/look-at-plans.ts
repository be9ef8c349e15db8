import { join } from "node:path";
import { UserError } from "../domain/errors.ts";
import { disk, systemCode } from "./atomic-write.ts";
import type { Change } from "./index.ts";
import { halfWritten, type IndexState } from "./index-state.ts";
import { planDir, planFile, plansDir, ticketsDir } from "./layout.ts";
import { failPlan, judgePlan, loadPlan, loadTicket, readPlanFile, signatureAt, type TrackedPlan } from "./load.ts";
import { listPlans, planTwins, ticketNames } from "./plan-list.ts";
import { listRevisions } from "./tickets.ts";

/** Reads a plan that the index does not hold yet. Never throws for what its files hold. */
export function addPlan(state: IndexState, id: string): void {
  const plan = loadPlan(state.stateDir, id, state.now(), state.writer);
  state.plans.set(id, plan);
  state.ticketRing = undefined;
  for (const entry of plan.tickets.values()) if (entry.signature === undefined || entry.undelivered) state.hintedTickets.add(entry);
  if (state.writer && !isNoPlan(state, plan)) state.straysIn.add(id);
  state.watching?.followPlan(id);
}

/** Whether only the name is there: it can be no plan's. */
function isNoPlan({ stateDir }: IndexState, plan: TrackedPlan): boolean {
  return plan.ownProblem?.file === join(plansDir(stateDir), plan.id);
}

/** Looks for plans that came or went. Throws system errors. */
export function lookAtRoot(state: IndexState): Change[] {
  const { plans } = state;
  const signature = signatureAt(plansDir(state.stateDir), state.now());
  if (signature !== undefined && signature === state.rootSignature) return [];
  state.watching?.followRoot();
  const present = new Set(listPlans(state.stateDir));
  state.rootSignature = signature;
  const changes: Change[] = [];
  for (const id of plans.keys()) {
    if (!present.has(id)) changes.push(removePlan(state, id));
  }
  for (const id of present) {
    if (plans.has(id)) continue;
    addPlan(state, id);
    changes.push({ planId: id, kind: "added" });
  }
  return [...changes, ...judgeTwins(state)];
}

/** Says of each plan whether another one's id differs from its own in case only. */
export function judgeTwins({ plans, stateDir }: IndexState): Change[] {
  const twins = planTwins(stateDir, plans.keys());
  const changes: Change[] = [];
  for (const [planId, plan] of plans) {
    const twin = twins.get(planId) ?? null;
    if (twin?.message === plan.twin?.message) continue;
    plan.twin = twin;
    changes.push({ planId, kind: "changed" });
  }
  return changes;
}

/** Takes a plan off the index whose folder is no longer there, and gives the change to tell. */
export function removePlan(state: IndexState, id: string): Change {
  state.plans.delete(id);
  state.ticketRing = undefined;
  state.watching?.forgetPlan(id);
  return { planId: id, kind: "removed" };
}

/**
 * Takes a plan off the index whose folder went away under a step, and gives the error to throw. How much of that step
 * the folder has taken along, only reading it again can tell: the next poll does, should it be back.
 */
export function planGone(state: IndexState, id: string, cause?: unknown): UserError {
  const plan = state.plans.get(id);
  if (plan) {
    state.dropped.push(plan);
    state.rootSignature = undefined;
    state.changes.push(removePlan(state, id));
  }
  return new UserError(`The folder of plan "${id}" went away: ${planDir(state.stateDir, id)}`, {
    hint: "bring it back and everything goes on; to end a plan for good, use: orchestrator cancel-plan",
    exit: "notFound",
    cause,
  });
}

/** Whether a plan's folder is there. */
export function hasFolder({ stateDir }: IndexState, id: string): boolean {
  return disk.lstatSync(planDir(stateDir, id), { throwIfNoEntry: false }) !== undefined;
}

/** Looks at plan.json and at the names of the ticket files. A folder that cannot be read is the plan's problem. */
export function lookAtPlan(state: IndexState, plan: TrackedPlan): Change[] {
  if (isNoPlan(state, plan)) return [];
  const known = plan.ownProblem?.message;
  try {
    return look(state, plan);
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    failPlan(plan, state.stateDir, code);
    state.hintedPlans.add(plan.id);
    return plan.ownProblem?.message === known ? [] : [{ planId: plan.id, kind: "unreadable" }];
  }
}

function look(state: IndexState, plan: TrackedPlan): Change[] {
  const { stateDir } = state;
  const planSignature = signatureAt(planFile(stateDir, plan.id), state.now());
  const ticketsSignature = signatureAt(ticketsDir(stateDir, plan.id), state.now());
  const planMoved = planSignature === undefined || planSignature !== plan.planSignature;
  const ticketsMoved = ticketsSignature === undefined || ticketsSignature !== plan.ticketsSignature;
  if (!planMoved && !ticketsMoved) return [];
  const before = JSON.stringify([plan.plan, plan.problems]);
  state.watching?.followPlan(plan.id);
  if (planMoved && !rereadPlan(state, plan)) state.hintedPlans.add(plan.id);
  plan.ticketsSignature = ticketsSignature;
  const { ids, bad } = ticketNames(stateDir, plan.id);
  const present = new Set(ids);
  const changes: Change[] = [];
  for (const ticketId of new Set([...ids, ...(plan.plan?.tickets ?? []).map((ticket) => ticket.ticketId)])) {
    const entry = plan.tickets.get(ticketId);
    if (!entry) changes.push(...addTicket(state, plan, ticketId, present.has(ticketId)));
    else if (entry.absent && present.has(ticketId)) state.hintedTickets.add(entry);
  }
  for (const entry of plan.tickets.values()) if (!present.has(entry.ref.ticketId)) state.hintedTickets.add(entry);
  judgePlan(plan, stateDir, bad);
  if (JSON.stringify([plan.plan, plan.problems]) !== before) {
    changes.push({ planId: plan.id, kind: plan.ownProblem ? "unreadable" : "changed" });
  }
  return changes;
}

function addTicket(state: IndexState, plan: TrackedPlan, ticketId: string, hasFile: boolean): Change[] {
  const ref = { stateDir: state.stateDir, planId: plan.id, ticketId };
  const fresh = loadTicket(ref, state.now(), listRevisions(ref).length > 0);
  if (fresh.problem && hasFile && halfWritten(state, fresh.file)) {
    state.hintedPlans.add(plan.id);
    plan.ticketsSignature = undefined;
    return [];
  }
  plan.tickets.set(ticketId, fresh);
  state.ticketRing = undefined;
  if (fresh.signature === undefined) state.hintedTickets.add(fresh);
  return [{ planId: plan.id, ticketId, kind: fresh.problem ? "unreadable" : "added" }];
}

/** False when plan.json may be half written and has to be looked at again. */
function rereadPlan(state: IndexState, plan: TrackedPlan): boolean {
  const good = plan.ownProblem === null;
  readPlanFile(plan, state.stateDir, state.now());
  if (!plan.ownProblem || !good || !halfWritten(state, planFile(state.stateDir, plan.id))) return true;
  plan.ownProblem = null;
  plan.planSignature = undefined;
  return false;
}
