import { UserError } from "../domain/errors.ts";
import type { Plan } from "../domain/plan.ts";
import type { Ticket } from "../domain/ticket.ts";
import { hasCode } from "./atomic-write.ts";
import { archivePlan, editTicket, type PlanEdits, removeTicket, writeTickets } from "./edit-plan.ts";
import { type IndexState, inTurn, keepInTrash, trashMs } from "./index-state.ts";
import { foldLateSaves } from "./late-saves.ts";
import { planFile, plansDir } from "./layout.ts";
import { judgePlan, type PlanEntry, signatureAt, type TrackedPlan, type TrackedTicket } from "./load.ts";
import { addPlan, hasFolder, judgeTwins, lookAtPlan, lookAtRoot, planGone } from "./look-at-plans.ts";
import { deliverIntents, lookAtTicket, unmoved } from "./look-at-ticket.ts";
import { listPlans, ticketNames } from "./plan-list.ts";
import { type PlanChange, updatePlan } from "./plans.ts";
import { commitTicket } from "./ticket-steps.ts";
import type { PendingIntent } from "./tickets.ts";
import { takeTurn } from "./turns.ts";
import { startWatching } from "./watching.ts";

export interface IndexOptions {
  /** True for the holder of the daemon lock, who alone may change files. Others read and never repair. */
  writer: boolean;
  /** The clock, in milliseconds since the epoch. */
  now?: () => number;
}

/** Something that differs from what the index held before. Without `ticketId` it concerns the plan itself. */
export interface Change {
  planId: string;
  ticketId?: string;
  kind: "added" | "changed" | "removed" | "unreadable";
  /** What an edit asks for. Each has to be settled by a commit that names its id, whether it changed anything or not. */
  intents?: PendingIntent[];
  notes?: string[];
}

export interface Index {
  plans: ReadonlyMap<string, PlanEntry>;
  /**
   * Looks at what hints name, at every plan's folder in turn and at `budget` ticket files in turn; reads what changed,
   * folds edits, restores missing files, and tells what is new. Throws Fenced when another writer lives.
   */
  poll(budget?: number): Promise<Change[]>;
  /** Calls back when something may have changed, so that the next poll looks there first. It may miss changes. */
  watch(callback: () => void): void;
  /**
   * Commits the runner-owned fields of `ticket` as its next revision; planner-owned fields stay as the index has them.
   * `settled` names an intent that this applies, or refuses for the reason in `refused`. Steps on one ticket happen one after the other.
   * Throws Fenced, system errors (nothing is committed then), an Error for a ticket that a later commit outdated, and a
   * UserError when the plan's folder has gone away: the index does not have the plan then, until a poll finds it back.
   */
  commit(planId: string, ticket: Ticket, settled?: string, refused?: string): Promise<Ticket>;
  /** Changes `status` or `hold` of a plan. Throws Unreadable for a plan.json that cannot be used, system errors, and as `commit` for a folder that went away. */
  updatePlan(planId: string, change: PlanChange): Promise<Plan>;
  /**
   * Adds tickets, changes the plan and its tickets, and removes tickets, in this order: a crash in between leaves nothing
   * that may run, and the same edits done again do the rest. Throws as `commit` and `updatePlan`.
   */
  editPlan(planId: string, edits: PlanEdits): Promise<void>;
  /** Puts a plan away and forgets it; gives its new folder. Throws a UserError (conflict) where another one is there, and system errors. */
  archivePlan(planId: string): Promise<string>;
  /** Whether a commit of late has applied this intent. */
  hasApplied(planId: string, ticketId: string, intentId: string): boolean;
  /** Whether this intent was read from an edit and waits for a commit that settles it. */
  isPending(planId: string, ticketId: string, intentId: string): boolean;
  close(): void;
}

const defaultBudget = 400;
const plansPerPoll = 50;

/** Reads all plans below `stateDir`. What a crash has left behind is repaired by the first poll of a writer. */
export function openIndex(stateDir: string, options: IndexOptions): Index {
  const now = options.now ?? Date.now;
  const state: IndexState = {
    stateDir,
    writer: options.writer,
    now,
    plans: new Map(),
    rootSignature: signatureAt(plansDir(stateDir), now()),
    hintedPlans: new Set(),
    hintedTickets: new Set(),
    lateSaves: [],
    straysIn: new Set(),
    ticketRing: undefined,
    dropped: [],
    changes: [],
    watching: undefined,
  };
  const ticketTurn = { next: 0 };
  const planTurn = { next: 0 };
  let polls: Promise<unknown> = Promise.resolve();
  for (const id of listPlans(stateDir)) addPlan(state, id);
  judgeTwins(state);

  async function pollNow(budget: number): Promise<Change[]> {
    for (const plan of state.dropped.splice(0)) await Promise.all([plan, ...plan.tickets.values()].map((entry) => entry.tail));
    state.changes.push(...lookAtRoot(state));
    const hintedPlans = [...state.hintedPlans].flatMap((id) => state.plans.get(id) ?? []);
    state.hintedPlans.clear();
    for (const plan of new Set([...hintedPlans, ...takeTurn([...state.plans.values()], plansPerPoll, planTurn)])) {
      state.changes.push(...lookAtPlan(state, plan));
    }
    if (state.writer) state.changes.push(...(await foldLateSaves(state)));
    state.ticketRing ??= [...state.plans.values()].flatMap((plan) => [...plan.tickets.values()]);
    const chosen = new Set([...state.hintedTickets, ...takeTurn(state.ticketRing, budget, ticketTurn)]);
    state.hintedTickets.clear();
    for (const entry of chosen) if (!unmoved(entry) || entry.undelivered) await lookAt(entry);
    return state.changes.splice(0);
  }

  async function lookAt(entry: TrackedTicket): Promise<void> {
    const plan = state.plans.get(entry.ref.planId);
    if (plan?.tickets.get(entry.ref.ticketId) !== entry) return;
    state.changes.push(...(await inTurn(entry, () => lookAtTicket(state, plan, entry))));
    if (entry.undelivered) deliverIntents(state, entry);
  }

  function find(planId: string, ticketId: string): TrackedTicket {
    const entry = state.plans.get(planId)?.tickets.get(ticketId);
    if (!entry) throw new UserError(`No ticket ${ticketId} in plan ${planId}.`, { exit: "notFound" });
    return entry;
  }

  function mayWrite(): void {
    if (!state.writer) throw new Error("this index was opened for reading");
  }

  function findPlan(planId: string): TrackedPlan {
    const plan = state.plans.get(planId);
    if (!plan) throw new UserError(`No plan ${planId}.`, { exit: "notFound" });
    return plan;
  }

  async function editNow(plan: TrackedPlan, edits: PlanEdits): Promise<void> {
    await writeTickets(state, plan.id, edits.added);
    await inTurn(plan, () => updateNow(plan, edits.change));
    state.changes.push(...lookAtPlan(state, plan));
    for (const [ticketId, fields] of edits.changed) {
      const entry = find(plan.id, ticketId);
      await inTurn(entry, () => editTicket(state, entry, fields));
    }
    for (const ticketId of edits.removed) {
      const entry = find(plan.id, ticketId);
      await inTurn(entry, () => removeTicket(state, plan, entry));
    }
    judgePlan(plan, stateDir, ticketNames(stateDir, plan.id).bad);
  }

  async function updateNow(plan: TrackedPlan, change: PlanEdits["change"] | PlanChange): Promise<Plan> {
    const updated = await updatePlan(stateDir, plan.id, change).catch((error) => {
      // The plan may lie in the trash alone.
      state.straysIn.add(plan.id);
      throw hasCode(error, "ENOENT") ? planGone(state, plan.id, error) : error;
    });
    if (!updated && !hasFolder(state, plan.id)) throw planGone(state, plan.id);
    if (!updated) throw new UserError(`${planFile(stateDir, plan.id)} is gone.`, { hint: "write it again", exit: "notFound" });
    keepInTrash(state, plan.id, updated.trash, now() + trashMs);
    plan.plan = updated.plan;
    plan.planSignature = updated.signature;
    return updated.plan;
  }

  return {
    plans: state.plans,
    poll(budget = defaultBudget) {
      const result = polls.then(() => pollNow(budget));
      polls = result.catch(() => undefined);
      return result;
    },
    watch(callback) {
      state.watching = startWatching(state, callback);
    },
    async commit(planId, ticket, settled, refused) {
      mayWrite();
      const entry = find(planId, ticket.ticketId);
      return inTurn(entry, () => commitTicket(state, entry, ticket, settled, refused)).catch((error: unknown) => {
        throw hasCode(error, "ENOENT") ? planGone(state, planId, error) : error;
      });
    },
    async updatePlan(planId, change) {
      mayWrite();
      const plan = findPlan(planId);
      return inTurn(plan, () => updateNow(plan, change));
    },
    async editPlan(planId, edits) {
      mayWrite();
      await editNow(findPlan(planId), edits).catch((error: unknown) => {
        throw hasCode(error, "ENOENT") ? planGone(state, planId, error) : error;
      });
    },
    async archivePlan(planId) {
      mayWrite();
      return archivePlan(state, findPlan(planId));
    },
    hasApplied(planId, ticketId, intentId) {
      return state.plans.get(planId)?.tickets.get(ticketId)?.truth?.applied.includes(intentId) ?? false;
    },
    isPending(planId, ticketId, intentId) {
      return (
        state.plans
          .get(planId)
          ?.tickets.get(ticketId)
          ?.truth?.pending.some(({ id }) => id === intentId) ?? false
      );
    },
    close() {
      state.watching?.close();
      state.watching = undefined;
    },
  };
}
