import { caseFold } from "../domain/ids.ts";
import { type Activity, priorities, resolveTicket, type Ticket } from "../domain/ticket.ts";
import { type Instant, secondsBetween } from "../domain/time.ts";
import type { FlatPhase } from "../domain/workflow.ts";
import { budgetsOf, needsPerson, nextDay, type Shortage } from "./budget.ts";
import { claimsOf } from "./claims.ts";
import { currentPhase } from "./moves.ts";
import { accountOf, opensAt, placesOf } from "./park.ts";
import { longestBackoffSeconds, tryLaterSeconds } from "./transition.ts";
import { blockerState, isRunnable, type Limits, type PlanView, planEntry, type World, workflowOf } from "./world.ts";

/** What the daemon is to do with a ticket now. */
export type Decision =
  /** `agent`: who stands in for the phase's own agent. */
  | { do: "dispatch"; planId: string; ticketId: string; agent?: string }
  | { do: "due"; planId: string; ticketId: string }
  | { do: "skip"; planId: string; ticketId: string; reason: string }
  | { do: "fault"; planId: string; ticketId: string; reason: string };

/** Which tickets may be chosen; the limits count the runs of all. */
export type Eligible = (planId: string, ticketId: string) => boolean;
const everyTicket: Eligible = () => true;

/** What to do now, and when to look again if nothing happens before. */
export interface Schedule {
  decisions: Decision[];
  nextAt: Instant | undefined;
  /** What waits for money or tokens until somebody does something about it; absent when nothing does. */
  short?: Short[];
}

/** A ticket that could start, and the cap that it does not fit in. */
export interface Short {
  planId: string;
  ticketId: string;
  phase: string;
  shortage: Shortage;
}

/** Checks of polls at once. They hold no agent slot, but each is a process. */
const pollLimit = 8;

/** A limit that a run counts against. */
interface Share {
  key: string;
  limit: number;
}

/**
 * Chooses what starts now, in one total order under all limits at once: never over a limit, and never under it while
 * something that it admits is ready. Polls, waits and gates hold no agent slot.
 */
export function schedule(world: World, limits: Limits, now: Instant, eligible: Eligible = everyTicket): Schedule {
  const used = usedShares(world, limits);
  const ready: Candidate[] = [];
  const decisions: Decision[] = [];
  const short: Short[] = [];
  let nextAt: Instant | undefined;
  const lookAgain = (at: Instant) => {
    if (nextAt === undefined || at < nextAt) nextAt = at;
  };

  for (const view of world.plans.values()) {
    const runnable = isRunnable(view.plan) && view.twin === undefined;
    for (const ticket of view.tickets.values()) {
      const { activity } = ticket;
      if (activity.state === "finished" || activity.state === "running") continue;
      if (!runnable || ticket.hold !== null || view.broken.has(ticket.ticketId) || !eligible(view.plan.id, ticket.ticketId)) continue;
      const where = { planId: view.plan.id, ticketId: ticket.ticketId };
      if (activity.state === "awaiting") {
        if (activity.until === undefined) continue;
        if (activity.until <= now) decisions.push({ do: "due", ...where });
        else lookAgain(activity.until);
        continue;
      }
      if (activity.state === "queued") {
        const blockers = blockerState(view, ticket.ticketId);
        if (blockers.state === "open") continue;
        if (blockers.state === "failed") {
          if (view.plan.onBlockerFailed === "skip")
            decisions.push({ do: "skip", ...where, reason: `${blockers.ids.join(", ")} did not complete.` });
          continue;
        }
      }
      const notBefore = activity.state === "waiting" ? activity.until : activity.state === "ready" ? activity.notBefore : undefined;
      const phase = phaseOf(view, ticket);
      if (notBefore !== undefined && notBefore > now && !isBeyond(notBefore, now, longestPause(activity, phase, limits))) {
        lookAgain(notBefore);
        continue;
      }
      if (typeof phase === "string") decisions.push({ do: "fault", ...where, reason: phase });
      else if (phase.type === "wait" && activity.state === "waiting") decisions.push({ do: "due", ...where });
      else ready.push({ view, ticket, phase });
    }
  }

  if (limits.stopped !== undefined) return { decisions, nextAt };
  const trials = trialsOf(world, limits);
  const claims = ready.some(({ ticket }) => ticket.activity.state === "queued") ? claimsOf(world, limits.worktreeRoot) : undefined;
  const budgets = limits.spending && budgetsOf(world, limits.spending);
  const setBack = ticketsToSetBack(limits);
  const late = ({ ticket }: Candidate) => (setBack.has(`${ticket.planId}/${ticket.ticketId}`) ? 1 : 0);
  for (const { view, ticket, phase } of ready.sort((a, b) => late(a) - late(b) || inOrder(a, b))) {
    const agents = agentsOf(phase, ticket, view, limits);
    const agent = agents.find((name) => isFree(name, trials, limits, now));
    if (agents.length > 0 && agent === undefined) {
      for (const at of agents.flatMap((name) => openingOf(name, limits, now))) lookAgain(at);
      continue;
    }
    const needed = shares(view, ticket, phase, limits, agent);
    if (needed.some((share) => (used.get(share.key) ?? 0) >= share.limit)) continue;
    const shortage = budgets?.shortage(view, ticket, phase);
    if (shortage) {
      if (shortage.of === "day") lookAgain(nextDay(now));
      if (needsPerson(shortage)) short.push({ planId: view.plan.id, ticketId: ticket.ticketId, phase: phase.id, shortage });
      continue;
    }
    if (ticket.activity.state === "queued") {
      if (claims?.holder(view, ticket)) continue;
      claims?.take(view, ticket);
    }
    for (const share of needed) used.set(share.key, (used.get(share.key) ?? 0) + 1);
    budgets?.take(view, ticket, phase);
    if (agent !== undefined) count(trials, accountOf(limits.providers, agent));
    const standIn = agent === undefined || agent === agentOf(phase, ticket, view, limits.defaultAgent) ? {} : { agent };
    decisions.push({ do: "dispatch", planId: view.plan.id, ticketId: ticket.ticketId, ...standIn });
  }
  return { decisions, nextAt, ...(short.length > 0 ? { short } : {}) };
}

/** Whether a time lies further ahead than any pause from now could lead: the clock was set back since it was noted. */
function isBeyond(at: Instant, now: Instant, longest: number): boolean {
  return secondsBetween(now, at) > longest;
}

/** The longest pause, in seconds, that may be left. What a person set as a wait is kept, whatever the clock does. */
function longestPause(activity: Activity, phase: FlatPhase | string, limits: Limits): number {
  if (activity.state === "ready") return longestBackoffSeconds * 1.25;
  if (typeof phase === "string" || phase.type === "wait") return Number.POSITIVE_INFINITY;
  return phase.type === "poll" ? (phase.intervalSeconds ?? limits.pollInterval) : tryLaterSeconds;
}

/** The agent of a phase: the phase's own, else the ticket's, the plan's, the default. */
export function agentOf(phase: FlatPhase, ticket: Ticket, view: PlanView, defaultAgent: string): string {
  return (phase.type === "agent" ? phase.agent : undefined) ?? ticket.agent ?? view.plan.agent ?? defaultAgent;
}

/**
 * Who may work a phase: its agent, then those that stand in for it; who failed at it last comes after all others. None for a phase
 * without an agent.
 */
export function agentsOf(phase: FlatPhase, ticket: Ticket, view: PlanView, { defaultAgent, providers }: Limits): string[] {
  if (phase.type !== "agent") return [];
  const own = agentOf(phase, ticket, view, defaultAgent);
  const trouble = providers?.parks.get(accountOf(providers, own))?.category;
  if (trouble !== undefined && providers?.alone?.includes(trouble)) return [own];
  const standIns = phase.fallbackAgents ?? providers?.fallbacks.get(own) ?? [];
  const all = [own, ...standIns.filter((name) => name !== own && providers?.accounts.has(name))];
  const last = ticket.activity.state === "ready" ? ticket.activity.notAgent : undefined;
  return [...all.filter((name) => name !== last), ...all.filter((name) => name === last)];
}

/** Whether an agent's provider lets it start one more run. */
export function isFree(agent: string, trials: ReadonlyMap<string, number>, { providers }: Limits, now: Instant): boolean {
  const account = accountOf(providers, agent);
  const places = placesOf(providers, account, now);
  return places === undefined || (trials.get(account) ?? 0) < places;
}

/** How many runs that began since its trouble each account with a park has now. */
export function trialsOf(world: World, { defaultAgent, providers }: Limits): Map<string, number> {
  const trials = new Map<string, number>();
  if (!providers || providers.parks.size === 0) return trials;
  for (const view of world.plans.values()) {
    for (const ticket of view.tickets.values()) {
      const { activity } = ticket;
      if (activity.state !== "running") continue;
      const phase = phaseOf(view, ticket);
      if (typeof phase === "string" || phase.type !== "agent") continue;
      const account = accountOf(providers, activity.agent ?? agentOf(phase, ticket, view, defaultAgent));
      const park = providers.parks.get(account);
      if (park && activity.since > park.at) count(trials, account);
    }
  }
  return trials;
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** When an agent that may start nothing now is tried next, as far as that is a matter of time. */
function openingOf(agent: string, { providers }: Limits, now: Instant): Instant[] {
  if (!providers) return [];
  const account = accountOf(providers, agent);
  const at = opensAt(providers, account, now);
  return at !== undefined && at > now && placesOf(providers, account, now) === 0 ? [at] : [];
}

/** Tickets that were the last to find a provider in trouble again: should it be their own doing, another one is a better test. */
function ticketsToSetBack({ providers }: Limits): Set<string> {
  return new Set([...(providers?.parks.values() ?? [])].flatMap(({ times, ticket }) => (times > 1 ? [ticket] : [])));
}

/** How many runs count against each limit now, by the limit's key. */
export function usedShares(world: World, limits: Limits): Map<string, number> {
  const used = new Map<string, number>();
  for (const view of world.plans.values()) {
    for (const ticket of view.tickets.values()) {
      if (ticket.activity.state !== "running") continue;
      const phase = phaseOf(view, ticket);
      for (const share of shares(view, ticket, typeof phase === "string" ? undefined : phase, limits)) {
        used.set(share.key, (used.get(share.key) ?? 0) + 1);
      }
    }
  }
  return used;
}

/**
 * The limits a run of this phase counts against, from the widest to the narrowest. A phase that nobody knows any more is a
 * run all the same. `standIn` is who would work it; of a running ticket it is known.
 */
export function shares(view: PlanView, ticket: Ticket, phase: FlatPhase | undefined, limits: Limits, standIn?: string): Share[] {
  switch (phase?.type) {
    case "wait":
    case "gate":
    case "terminal":
      return [];
    case "poll":
      return [{ key: "polls", limit: pollLimit }];
    default: {
      const all: Share[] = [{ key: "all", limit: limits.maxConcurrency }];
      if (view.plan.maxParallel !== null) all.push({ key: `plan ${view.plan.id}`, limit: view.plan.maxParallel });
      if (phase?.type === "agent") {
        const { activity } = ticket;
        const known = standIn ?? (activity.state === "running" ? activity.agent : undefined);
        const agent = known ?? agentOf(phase, ticket, view, limits.defaultAgent);
        const limit = limits.agents.get(agent);
        if (limit !== undefined) all.push({ key: `agent ${agent}`, limit });
      }
      if (phase?.type === "merge") all.push({ key: `merges into ${resolveTicket(ticket, view.plan, limits.worktreeRoot).repo}`, limit: 1 });
      return all;
    }
  }
}

interface Candidate {
  view: PlanView;
  ticket: Ticket;
  phase: FlatPhase;
}

function phaseOf(view: PlanView, ticket: Ticket): FlatPhase | string {
  const workflow = workflowOf(view, ticket);
  if (typeof workflow === "string") return workflow;
  const known = () => workflow.phases.map((phase) => phase.id).join(", ");
  return currentPhase(ticket, workflow) ?? `Workflow "${workflow.name}" has no phase "${ticket.currentPhase}"; it has ${known()}.`;
}

/** The total order: resumed work, then retries, then priority, the plan's order, age, and ids so that no two are equal. */
function inOrder(a: Candidate, b: Candidate): number {
  return (
    rank(a.ticket) - rank(b.ticket) ||
    priority(a.ticket) - priority(b.ticket) ||
    order(a) - order(b) ||
    compare(created(a), created(b)) ||
    compare(caseFold(a.view.plan.id), caseFold(b.view.plan.id)) ||
    compare(a.view.plan.id, b.view.plan.id) ||
    compare(a.ticket.ticketId, b.ticket.ticketId)
  );
}

function rank(ticket: Ticket): number {
  const { activity } = ticket;
  if (activity.state !== "ready") return 2;
  return activity.cause === "resume" ? 0 : activity.cause === "retry" ? 1 : 2;
}

function priority(ticket: Ticket): number {
  return priorities.indexOf(ticket.priority ?? "P2");
}

function order({ view, ticket }: Candidate): number {
  return planEntry(view.plan, ticket.ticketId)?.order ?? Number.MAX_SAFE_INTEGER;
}

function created({ view, ticket }: Candidate): string {
  return ticket.createdAt ?? view.plan.createdAt;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
