import type { Config } from "../domain/config.ts";
import type { Plan } from "../domain/plan.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { Workflow } from "../domain/workflow.ts";
import { isRunnable, type PlanView, unlisted, type World } from "../engine/world.ts";
import type { Index } from "../state/index.ts";
import type { PlanEntry } from "../state/load.ts";
import { type PlanWorkflows, planWorkflow } from "./plan-workflow.ts";

interface LiveView extends PlanView {
  plan: Plan;
  tickets: Map<string, Ticket>;
  broken: Map<string, string>;
  workflows: Map<string, Workflow | string>;
  /** What `broken` says of tickets for the sake of others. */
  ticketTwins: PlanEntry["ticketTwins"];
}

/** The engine's view of the index, kept up to date change by change: a look at 10,000 idle tickets copies nothing. */
export interface LiveWorld extends World {
  plans: Map<string, LiveView>;
  brokenPlans: Map<string, string>;
  /** Takes over what the index now says of a plan, or of one of its tickets. */
  refresh(planId: string, ticketId?: string): void;
  replaceTicket(planId: string, ticket: Ticket): void;
  /** Tries the workflows again that could not be used: their files may have been mended. */
  retryWorkflows(): void;
  /** Reads a workflow of a plan again after its pinned text was replaced. */
  reloadWorkflow(planId: string, name: string): void;
  /** Grows with every change: while it stays, whatever was found out about this world holds. */
  version(): number;
  /** The plans that changed since this was last asked. */
  takeDirty(): string[];
}

/** Builds the view of everything the index holds. Workflows are pinned for plans that may run when `pin` is set. */
export function createLiveWorld(index: Index, config: () => Config, pin: boolean): LiveWorld {
  const plans = new Map<string, LiveView>();
  const brokenPlans = new Map<string, string>();
  const dirty = new Set<string>();
  let version = 0;
  const read: PlanWorkflows = { pinned: new Map(), current: new Map() };

  const world: LiveWorld = {
    plans,
    brokenPlans,
    refresh(planId, ticketId) {
      const entry = index.plans.get(planId);
      const view = plans.get(planId);
      dirty.add(planId);
      version += 1;
      if (!entry?.plan) {
        plans.delete(planId);
        if (entry) brokenPlans.set(planId, entry.problems.map(problemText).join("; ") || "plan.json cannot be read");
        else brokenPlans.delete(planId);
        return;
      }
      brokenPlans.delete(planId);
      if (!view || ticketId === undefined || view.ticketTwins !== entry.ticketTwins) {
        // A plan that may run from now on runs under what is pinned now, not under what was read while it could not.
        const workflows = view && isRunnable(view.plan) ? view.workflows : new Map<string, Workflow | string>();
        plans.set(planId, viewOf(entry, entry.plan, workflows));
        loadWorkflows(planId);
        return;
      }
      takeTicket(view, entry, ticketId);
      loadWorkflows(planId);
    },
    replaceTicket(planId, ticket) {
      plans.get(planId)?.tickets.set(ticket.ticketId, ticket);
      version += 1;
    },
    retryWorkflows() {
      for (const [planId, view] of plans) {
        let failed = false;
        for (const [name, workflow] of view.workflows) {
          if (typeof workflow !== "string") continue;
          view.workflows.delete(name);
          failed = true;
        }
        if (!failed) continue;
        loadWorkflows(planId);
        version += 1;
      }
    },
    reloadWorkflow(planId, name) {
      plans.get(planId)?.workflows.delete(name);
      loadWorkflows(planId);
      dirty.add(planId);
      version += 1;
    },
    version: () => version,
    takeDirty() {
      const planIds = [...dirty];
      dirty.clear();
      return planIds;
    },
  };

  function loadWorkflows(planId: string): void {
    const view = plans.get(planId);
    if (!view) return;
    // Files change at any time: what was read of them holds for this turn of the event loop.
    if (read.current.size === 0) setImmediate(() => read.current.clear());
    const load = (name: string | null) => {
      if (name !== null && !view.workflows.has(name)) view.workflows.set(name, planWorkflow(config(), view.plan, name, pin, read));
    };
    load(view.plan.workflow);
    for (const ticket of view.tickets.values()) if (ticket.workflow !== null && ticket.activity.state !== "finished") load(ticket.workflow);
  }

  for (const planId of index.plans.keys()) world.refresh(planId);
  return world;
}

function viewOf(entry: PlanEntry, plan: Plan, workflows: LiveView["workflows"]): LiveView {
  const twin = entry.twin === null ? {} : { twin: problemText(entry.twin) };
  const view: LiveView = { plan, tickets: new Map(), broken: new Map(), workflows, ticketTwins: entry.ticketTwins, ...twin };
  for (const ticketId of entry.tickets.keys()) takeTicket(view, entry, ticketId);
  return view;
}

function takeTicket(view: LiveView, entry: PlanEntry, ticketId: string): void {
  const found = entry.tickets.get(ticketId);
  if (found?.ticket) view.tickets.set(ticketId, found.ticket);
  else view.tickets.delete(ticketId);
  const problem = found?.problem ?? view.ticketTwins.get(ticketId);
  const broken = found && (problem ? problemText(problem) : unlisted(view.plan, ticketId));
  if (broken === undefined) view.broken.delete(ticketId);
  else view.broken.set(ticketId, broken);
}

function problemText(problem: { file: string; line?: number; column?: number; message: string; hint?: string }): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(":");
  return `${place}: ${problem.message}${problem.hint ? ` (${problem.hint})` : ""}`;
}
