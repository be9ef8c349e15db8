import type { Config } from "../domain/config.ts";
import type { Parks } from "../domain/park.ts";
import type { Plan, PlanStatus } from "../domain/plan.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { Workflow } from "../domain/workflow.ts";
import type { Spending } from "./budget.ts";
import type { Providers } from "./park.ts";
import { categoriesToWaitOut } from "./reaction.ts";

/** One plan as rules see it. */
export interface PlanView {
  plan: Plan;
  /** The last good state of each ticket, by id; also of those whose file is unreadable at the moment. */
  tickets: ReadonlyMap<string, Ticket>;
  /** What keeps a ticket from being run or counted, by ticket id: an unreadable file, an id that is not its file's name… */
  broken: ReadonlyMap<string, string>;
  /** Why nothing of the plan may start although it can be read; absent when it may. */
  twin?: string;
  /** The workflows its tickets run under, by name; a string says why one cannot be used. */
  workflows: ReadonlyMap<string, Workflow | string>;
}

/** Everything rules know at one moment. */
export interface World {
  plans: ReadonlyMap<string, PlanView>;
  /** Plan folders that cannot be read at all, with the reason. */
  brokenPlans: ReadonlyMap<string, string>;
}

/** Limits of the configuration. */
export interface Limits {
  /** Runs at once over all plans. */
  maxConcurrency: number;
  /** Runs at once per agent; an agent without an entry is bounded by maxConcurrency alone. */
  agents: ReadonlyMap<string, number>;
  defaultAgent: string;
  /** Seconds between two looks of a poll that names no interval. */
  pollInterval: number;
  worktreeRoot: string;
  /** Why nothing new may start on this machine; absent when it may. */
  stopped?: string;
  /** Which agents wait for their provider, and who stands in; absent: none does. */
  providers?: Providers;
  /** What agents have cost and may cost; absent where nobody asks for money. */
  spending?: Spending;
}

/** The limits that a configuration sets, and those of the moment. */
export function limitsOf(config: Config, stopped: string | undefined, parks: Parks, spending?: Spending): Limits {
  const { maxConcurrency, defaultAgent, pollInterval, worktreeRoot } = config;
  const agents = Object.entries(config.agents).flatMap(([name, agent]) =>
    agent.maxConcurrency === undefined ? [] : [[name, agent.maxConcurrency] as const],
  );
  const providers = providersOf(config, parks);
  const money = spending === undefined ? {} : { spending };
  const limits = { maxConcurrency, agents: new Map(agents), defaultAgent, pollInterval, worktreeRoot, providers, ...money };
  return stopped === undefined ? limits : { ...limits, stopped };
}

/** The providers of a configuration's agents. */
export function providersOf({ agents, resumeAgents, quietHours, reactions }: Config, parks: Parks): Providers {
  const all = Object.entries(agents);
  return {
    parks,
    accounts: new Map(all.map(([name, { account }]) => [name, account ?? name])),
    fallbacks: new Map(all.map(([name, { fallbackAgents }]) => [name, fallbackAgents])),
    manual: resumeAgents === "manual",
    ...(quietHours === undefined ? {} : { quietHours }),
    alone: categoriesToWaitOut(reactions),
  };
}

/** The ids that make up a plan: those it lists and those it has files for. Completion counts all of them. */
export function ticketIds(view: PlanView): Set<string> {
  return new Set([...view.plan.tickets.map((entry) => entry.ticketId), ...view.tickets.keys(), ...view.broken.keys()]);
}

/** The workflow of a ticket, or why there is none. */
export function workflowOf(view: PlanView, ticket: Ticket): Workflow | string {
  const name = ticket.workflow ?? view.plan.workflow;
  if (!name) return `Neither ticket "${ticket.ticketId}" nor plan "${view.plan.id}" names a workflow.`;
  return view.workflows.get(name) ?? `Workflow "${name}" is not known.`;
}

/** Whether the plan may start anything, as far as people have said. */
export function isRunnable(plan: Plan): boolean {
  return plan.hold === null && (plan.status === "active" || plan.status === "blocked");
}

export type BlockerState = { state: "settled" } | { state: "open"; ids: string[] } | { state: "failed"; ids: string[] };

/** Whether the tickets that block this one are done with. A blocker that nobody knows stays open. */
export function blockerState(view: PlanView, ticketId: string): BlockerState {
  const ids = blockersOf(view, ticketId);
  if (ids.length === 0) return { state: "settled" };
  const open: string[] = [];
  const failed: string[] = [];
  for (const id of ids) {
    const activity = view.tickets.get(id)?.activity;
    if (activity?.state !== "finished" || view.broken.has(id)) open.push(id);
    else if (activity.outcome !== "complete") failed.push(id);
  }
  if (failed.length > 0 && view.plan.onBlockerFailed !== "run") return { state: "failed", ids: failed };
  return open.length > 0 ? { state: "open", ids: open } : { state: "settled" };
}

const noBlockers: string[] = [];
const entryIndex = new WeakMap<Plan, Map<string, Plan["tickets"][number]>>();

/** The plan's entry of a ticket, if it lists the ticket. */
export function planEntry(plan: Plan, ticketId: string): Plan["tickets"][number] | undefined {
  let index = entryIndex.get(plan);
  if (!index) {
    index = new Map(plan.tickets.map((entry) => [entry.ticketId, entry]));
    entryIndex.set(plan, index);
  }
  return index.get(ticketId);
}

/** Why a ticket waits whose file is there before the plan lists it: what blocks it may be still to come. */
export function unlisted(plan: Plan, ticketId: string): string | undefined {
  return planEntry(plan, ticketId) ? undefined : `plan.json does not list ${ticketId} (add it to tickets, or remove its file)`;
}

/** Ids that the plan says block a ticket. */
export function blockersOf(view: PlanView, ticketId: string): string[] {
  return planEntry(view.plan, ticketId)?.blockedBy ?? noBlockers;
}

/**
 * What a plan's status is now, from all of its own list: `complete` once every ticket is, `blocked` when none can
 * move without a person. Draft and paused are what a person said and stay.
 */
export function planStatus(view: PlanView): PlanStatus {
  const { plan } = view;
  if (plan.status === "draft") return "draft";
  if (plan.hold !== null || plan.status === "paused") return "paused";
  const ids = [...ticketIds(view)];
  if (ids.length === 0) return "active";
  const open = ids.filter((id) => !isDone(view, id));
  if (open.length === 0) return "complete";
  if (view.twin !== undefined) return "blocked";
  const able = ableToMove(view);
  return open.some((id) => able.has(id) && view.tickets.get(id)?.activity.state !== "finished") ? "active" : "blocked";
}

function isDone(view: PlanView, ticketId: string): boolean {
  const activity = view.tickets.get(ticketId)?.activity;
  if (activity?.state !== "finished" || view.broken.has(ticketId)) return false;
  return activity.outcome === "complete" || activity.outcome === "skipped";
}

/** The tickets that are out of their dependants' way, or will be without a person: spreads from the free ones, so a cycle is never among them. */
function ableToMove(view: PlanView): Set<string> {
  const dependants = new Map<string, string[]>();
  const open = new Map<string, number>();
  for (const entry of view.plan.tickets) {
    open.set(entry.ticketId, entry.blockedBy.length);
    for (const blocker of entry.blockedBy) {
      const known = dependants.get(blocker);
      if (known) known.push(entry.ticketId);
      else dependants.set(blocker, [entry.ticketId]);
    }
  }
  const able = new Set<string>();
  const reached = [...ticketIds(view)].filter((id) => {
    const activity = view.tickets.get(id)?.activity;
    return activity?.state !== "queued" || (open.get(id) ?? 0) === 0;
  });
  for (let id = reached.pop(); id !== undefined; id = reached.pop()) {
    const ticket = view.tickets.get(id);
    if (!ticket || view.broken.has(id) || able.has(id)) continue;
    const { activity } = ticket;
    const failed = activity.state === "finished" && activity.outcome !== "complete";
    if (failed ? view.plan.onBlockerFailed === "wait" : activity.state !== "finished" && ticket.hold !== null) continue;
    able.add(id);
    for (const dependant of dependants.get(id) ?? []) {
      const left = (open.get(dependant) ?? 0) - 1;
      open.set(dependant, left);
      if (left === 0) reached.push(dependant);
    }
  }
  return able;
}

/** A cycle of blockers that a ticket stands on, as the ids in order with the first one repeated; undefined if there is none. */
export function blockerCycle(view: PlanView, ticketId: string): string[] | undefined {
  const path: { id: string; left: string[] }[] = [{ id: ticketId, left: [...blockersOf(view, ticketId)] }];
  const seen = new Set([ticketId]);
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const next = top.left.shift();
    if (next === undefined) {
      path.pop();
      continue;
    }
    const at = path.findIndex((step) => step.id === next);
    if (at >= 0) return [...path.slice(at).map((step) => step.id), next];
    if (seen.has(next)) continue;
    seen.add(next);
    path.push({ id: next, left: [...blockersOf(view, next)] });
  }
  return undefined;
}
