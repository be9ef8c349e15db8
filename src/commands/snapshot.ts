import type { Config } from "../domain/config.ts";
import type { Plan } from "../domain/plan.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { Workflow } from "../domain/workflow.ts";
import { type PlanView, unlisted, type World } from "../engine/world.ts";
import type { Problem } from "../state/json.ts";
import type { PlanEntry } from "../state/load.ts";

/** What the files say at one moment, read without any lock. */
export interface Snapshot {
  world: World;
  /** What is wrong with plans themselves, by id. */
  problems: ReadonlyMap<string, string[]>;
}

/** Reads the workflow of this name for a plan; a string says why there is none. */
export type WorkflowReader = (config: Config, planId: string, name: string, cache: Map<string, Workflow | string>) => Workflow | string;

/** The view of these plans. */
export function snapshotOf(entries: ReadonlyMap<string, PlanEntry>, config: Config, read?: WorkflowReader): Snapshot {
  const plans = new Map<string, PlanView>();
  const brokenPlans = new Map<string, string>();
  const problems = new Map<string, string[]>();
  const cache = new Map<string, Workflow | string>();
  for (const [id, entry] of entries) {
    const all = [...(entry.twin ? [entry.twin] : []), ...entry.problems].map(problemText);
    if (all.length > 0) problems.set(id, all);
    if (entry.plan) plans.set(id, viewOf(config, read, cache, entry, entry.plan));
    else brokenPlans.set(id, all.join("; ") || "plan.json cannot be read");
  }
  return { world: { plans, brokenPlans }, problems };
}

function viewOf(
  config: Config,
  read: WorkflowReader | undefined,
  cache: Map<string, Workflow | string>,
  entry: PlanEntry,
  plan: Plan,
): PlanView {
  const tickets = new Map<string, Ticket>();
  const broken = new Map<string, string>();
  const workflows = new Map<string, Workflow | string>();
  for (const [ticketId, { ticket, problem }] of entry.tickets) {
    if (ticket) tickets.set(ticketId, ticket);
    const found = problem ?? entry.ticketTwins.get(ticketId);
    const why = found ? problemText(found) : unlisted(plan, ticketId);
    if (why !== undefined) broken.set(ticketId, why);
    const name = ticket?.workflow ?? plan.workflow;
    if (read && name !== null && !workflows.has(name)) workflows.set(name, read(config, plan.id, name, cache));
  }
  return { plan, tickets, broken, workflows, ...(entry.twin ? { twin: problemText(entry.twin) } : {}) };
}

/** `file:line:column: message (hint)`. */
function problemText({ file, line, column, message, hint }: Problem): string {
  const place = [file, line, column].filter((part) => part !== undefined).join(":");
  return `${place}: ${message}${hint ? ` (${hint})` : ""}`;
}
