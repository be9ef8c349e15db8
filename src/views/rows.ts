import type { Hold, Plan, PlanStatus } from "../domain/plan.ts";
import type { Session } from "../domain/session.ts";
import type { Ticket, TicketStatus } from "../domain/ticket.ts";
import { statusOf, ticketStatuses } from "../domain/ticket-status.ts";
import type { Instant } from "../domain/time.ts";
import { blockerState, type PlanView, planEntry, planStatus, ticketIds, type World, workflowOf } from "../engine/world.ts";

/** A status as people see it; `unreadable`: there is no good state of the ticket at all. */
export type ShownStatus = TicketStatus | "unreadable";

/** One ticket in a list. */
export interface TicketRow {
  planId: string;
  ticketId: string;
  title: string;
  status: ShownStatus;
  /** Current phase; `index` counts from 1, both numbers are absent while the workflow is not known. */
  phase?: { id: string; index?: number; of?: number };
  error?: string;
  /** Why its file cannot be used. */
  problem?: string;
  /** Why the last edit of its file was not followed. */
  refusedEdit?: string;
  hold?: Hold;
  /** When it is looked at again: the next check of a poll, the end of a pause after a failure, a gate's limit. */
  nextAt?: Instant;
  /** Since when its run runs or its gate waits. */
  since?: Instant;
  runId?: string;
  pullRequest?: string;
  session?: Session & { phase: string };
  costUsd?: number;
  /** The last good state, with `status` as shown here. */
  ticket?: Ticket;
}

/** One plan in a list. Its counts are counted from its rows, so they always agree. */
export interface PlanRow {
  id: string;
  name: string;
  status: PlanStatus | "unreadable";
  workflow?: string;
  hold?: Hold;
  total: number;
  counts: Record<ShownStatus, number>;
  problems: string[];
  tickets: TicketRow[];
  plan?: Plan;
}

/** All plans, those that cannot be read included, by id. `problems` are what is wrong with a plan's own file or list. */
export function planRows(world: World, problems: ReadonlyMap<string, string[]>): PlanRow[] {
  const rows = [...world.plans.values()].map((view) => planRow(view, problems.get(view.plan.id) ?? []));
  for (const [id, reason] of world.brokenPlans) {
    rows.push({ id, name: "", status: "unreadable", total: 0, counts: count([]), problems: problems.get(id) ?? [reason], tickets: [] });
  }
  return rows.toSorted((a, b) => compare(a.id, b.id));
}

/** One plan with its tickets in the order in which they are worked: `order`, then id. */
export function planRow(view: PlanView, problems: string[]): PlanRow {
  const { plan } = view;
  const order = (id: string) => planEntry(plan, id)?.order ?? Number.MAX_SAFE_INTEGER;
  const tickets = [...ticketIds(view)]
    .toSorted((a, b) => order(a) - order(b) || compare(a, b))
    .map((ticketId) => ticketRow(view, ticketId));
  const status = planStatus(view);
  return {
    id: plan.id,
    name: plan.name,
    status,
    ...(plan.workflow === null ? {} : { workflow: plan.workflow }),
    ...(plan.hold === null ? {} : { hold: plan.hold }),
    total: tickets.length,
    counts: count(tickets),
    problems,
    tickets,
    plan: { ...plan, status },
  };
}

/** One ticket. A queued one whose blockers are done with shows as ready: nothing but a slot keeps it. */
export function ticketRow(view: PlanView, ticketId: string): TicketRow {
  const planId = view.plan.id;
  const ticket = view.tickets.get(ticketId);
  const problem = view.broken.get(ticketId);
  const broken = problem === undefined ? {} : { problem };
  if (!ticket) return { planId, ticketId, title: "", status: "unreadable", problem: problem ?? "it has no file" };
  const status = shownStatus(view, ticket);
  const session = latestSession(ticket);
  const pullRequest = ticket.context.pr_url;
  return {
    planId,
    ticketId,
    title: ticket.title,
    status,
    ...phaseOf(view, ticket),
    ...(ticket.error === null ? {} : { error: ticket.error }),
    ...broken,
    ...(ticket.refusedEdit === undefined ? {} : { refusedEdit: ticket.refusedEdit }),
    ...(ticket.hold === null ? {} : { hold: ticket.hold }),
    ...timesOf(ticket),
    ...(pullRequest ? { pullRequest } : {}),
    ...(session ? { session } : {}),
    ...cost(ticket),
    ticket: { ...ticket, status },
  };
}

function shownStatus(view: PlanView, ticket: Ticket): TicketStatus {
  const status = statusOf(ticket);
  if (status !== "queued" || blockerState(view, ticket.ticketId).state !== "settled") return status;
  return "ready";
}

function phaseOf(view: PlanView, ticket: Ticket): Pick<TicketRow, "phase"> {
  const id = ticket.currentPhase;
  if (id === null) return {};
  const workflow = workflowOf(view, ticket);
  const index = typeof workflow === "string" ? -1 : workflow.phases.findIndex((phase) => phase.id === id);
  return { phase: typeof workflow === "string" || index < 0 ? { id } : { id, index: index + 1, of: workflow.phases.length } };
}

function timesOf({ activity }: Ticket): Pick<TicketRow, "nextAt" | "since" | "runId"> {
  switch (activity.state) {
    case "running":
      return { since: activity.since, runId: activity.runId };
    case "waiting":
      return { nextAt: activity.until };
    case "awaiting":
      return { since: activity.since, ...(activity.until === undefined ? {} : { nextAt: activity.until }) };
    case "ready":
      return activity.notBefore === undefined ? {} : { nextAt: activity.notBefore };
    default:
      return {};
  }
}

function latestSession(ticket: Ticket): (Session & { phase: string }) | undefined {
  if (ticket.currentSession && ticket.currentPhase !== null) return { ...ticket.currentSession, phase: ticket.currentPhase };
  const entry = ticket.phaseHistory.findLast((each) => each.session !== undefined);
  return entry?.session && { ...entry.session, phase: entry.phase };
}

function cost(ticket: Ticket): Pick<TicketRow, "costUsd"> {
  const known = ticket.phaseHistory.flatMap((entry) => entry.costUsd ?? []);
  return known.length === 0 ? {} : { costUsd: known.reduce((sum, each) => sum + each, 0) };
}

function count(tickets: readonly TicketRow[]): Record<ShownStatus, number> {
  const counts = Object.fromEntries([...ticketStatuses, "unreadable"].map((status) => [status, 0])) as Record<ShownStatus, number>;
  for (const { status } of tickets) counts[status] += 1;
  return counts;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
