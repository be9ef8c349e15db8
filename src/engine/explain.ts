import { didYouMean } from "../domain/errors.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";
import { budgetsOf, shortageText } from "./budget.ts";
import { claimsOf } from "./claims.ts";
import { currentPhase } from "./moves.ts";
import { accountOf, parkText } from "./park.ts";
import { stuckText } from "./progress.ts";
import { agentsOf, isFree, shares, trialsOf, usedShares } from "./schedule.ts";
import {
  blockerCycle,
  blockerState,
  blockersOf,
  isRunnable,
  type Limits,
  type PlanView,
  ticketIds,
  type World,
  workflowOf,
} from "./world.ts";

/** One cause why a ticket does not move, and the command that changes it, where there is one. */
export interface Reason {
  /** Stable name, for scripts. */
  code:
    | "broken_plan"
    | "broken_ticket"
    | "daemon_off"
    | "plan_held"
    | "held"
    | "blocked"
    | "blocker_failed"
    | "blocker_cycle"
    | "unknown_blocker"
    | "shared"
    | "backoff"
    | "poll_wait"
    | "approval"
    | "limit"
    | "parked"
    | "budget"
    | "no_workflow"
    | "running"
    | "stopping"
    | "ended"
    | "edit_refused"
    | "stuck"
    | "stopped"
    | "isolation"
    | "next";
  message: string;
  command?: string;
}

/** Facts about the daemon that the state alone does not tell. */
export interface Circumstances {
  now: Instant;
  daemonRuns: boolean;
}

/** Why a ticket is where it is: never empty, the nearest cause first. */
export function explain(world: World, planId: string, ticketId: string, limits: Limits, facts: Circumstances): Reason[] {
  const view = world.plans.get(planId);
  if (!view)
    return [
      { code: "broken_plan", message: world.brokenPlans.get(planId) ?? `There is no plan "${planId}".`, command: "orchestrator check" },
    ];
  const broken = view.broken.get(ticketId);
  const reasons: Reason[] = broken === undefined ? [] : [{ code: "broken_ticket", message: broken, command: "orchestrator check" }];
  const ticket = view.tickets.get(ticketId);
  if (!ticket) return reasons.length > 0 ? reasons : [{ code: "broken_ticket", message: `Plan "${planId}" has no ticket "${ticketId}".` }];
  const where = `${planId} ${ticketId}`;
  reasons.push(...ofTicket(world, view, ticket, where, limits, facts));
  if (!facts.daemonRuns && ticket.activity.state !== "finished") {
    reasons.push({ code: "daemon_off", message: "No daemon is running.", command: "orchestrator daemon" });
  }
  if (reasons.length === 0) reasons.push({ code: "next", message: "It starts with the daemon's next look." });
  if (ticket.stuck !== null && ticket.activity.state !== "finished") {
    reasons.push({ code: "stuck", message: stuckText(ticket.stuck), command: `orchestrator logs ${where}` });
  }
  // No cause of anything, but somebody expected it to be one.
  if (ticket.refusedEdit !== undefined) {
    reasons.push({ code: "edit_refused", message: `The last edit of its file was not followed. ${ticket.refusedEdit}` });
  }
  return reasons;
}

function ofTicket(world: World, view: PlanView, ticket: Ticket, where: string, limits: Limits, facts: Circumstances): Reason[] {
  const { activity } = ticket;
  const { plan } = view;
  if (activity.state === "finished") {
    const why = ticket.error ? `: ${ticket.error}` : ".";
    const command = activity.outcome === "complete" ? {} : { command: `orchestrator retry ${where}` };
    const ended: Reason = { code: "ended", message: `It has ended as ${activity.outcome}${why}`, ...command };
    const last = ticket.phaseHistory.at(-1);
    if (last?.category !== "isolation" || last.isolation === undefined || activity.outcome === "complete") return [ended];
    return [ended, { code: "isolation", message: "What changed in your checkout can be taken back.", command: last.isolation.restore }];
  }
  if (activity.state === "running") {
    return activity.stop
      ? [{ code: "stopping", message: `Run ${activity.runId} is being stopped.`, command: `orchestrator logs ${where}` }]
      : [
          {
            code: "running",
            message: `Phase "${ticket.currentPhase}" runs since ${activity.since}.`,
            command: `orchestrator logs ${where} --follow`,
          },
        ];
  }
  const reasons: Reason[] = [];
  if (view.twin !== undefined) reasons.push({ code: "broken_plan", message: view.twin, command: "orchestrator check" });
  if (plan.status === "draft")
    reasons.push({
      code: "plan_held",
      message: `Plan "${plan.id}" is a draft and waits for approval.`,
      command: `orchestrator plan approve ${plan.id}`,
    });
  else if (!isRunnable(plan)) {
    const who = plan.hold ? ` by ${plan.hold.by} (${plan.hold.reason || "no reason given"})` : "";
    reasons.push({
      code: "plan_held",
      message: `Plan "${plan.id}" is ${plan.hold ? "paused" : plan.status}${who}.`,
      command: `orchestrator resume-plan ${plan.id}`,
    });
  }
  if (ticket.hold) {
    const { by, at, reason, takeover } = ticket.hold;
    const its = takeover?.session ? ` (${takeover.session.provider} ${takeover.session.id})` : "";
    reasons.push({
      code: "held",
      message: takeover
        ? `${takeover.by} took it over at ${takeover.at}${its}.`
        : `${by} paused it at ${at} (${reason || "no reason given"}).`,
      command: `orchestrator resume ${where}`,
    });
  }
  if (activity.state === "queued") reasons.push(...ofBlockers(view, ticket.ticketId), ...ofClaims(world, view, ticket, limits));
  if (activity.state === "awaiting") {
    reasons.push({
      code: "approval",
      message: `Phase "${ticket.currentPhase}" waits for an approval since ${activity.since}.`,
      command: `orchestrator approve ${where}`,
    });
  }
  if (activity.state === "waiting") {
    const why = activity.reason ? ` (${activity.reason})` : "";
    reasons.push({ code: "poll_wait", message: `Phase "${ticket.currentPhase}" looks again at ${activity.until}${why}.` });
  }
  if (activity.state === "ready" && activity.notBefore !== undefined && activity.notBefore > facts.now) {
    reasons.push({
      code: "backoff",
      message: `It runs again at ${activity.notBefore}, after: ${ticket.error ?? "a failure"}`,
      command: `orchestrator retry ${where}`,
    });
  }
  const workflow = workflowOf(view, ticket);
  if (typeof workflow === "string") reasons.push({ code: "no_workflow", message: workflow, command: "orchestrator workflow lint" });
  else if (limits.stopped !== undefined) {
    reasons.push({ code: "stopped", message: `Nothing new starts: ${limits.stopped}.`, command: "orchestrator doctor" });
  } else if (reasons.length === 0)
    reasons.push(...ofLimits(world, view, ticket, workflow.phases.length > 0 ? currentPhase(ticket, workflow) : undefined, limits, facts));
  return reasons;
}

function ofBlockers(view: PlanView, ticketId: string): Reason[] {
  const cycle = blockerCycle(view, ticketId);
  if (cycle)
    return [{ code: "blocker_cycle", message: `Its blockers form a cycle: ${cycle.join(" → ")}. Remove one from blockedBy in plan.json.` }];
  const known = ticketIds(view);
  const unknown = blockersOf(view, ticketId).filter((id) => !known.has(id));
  if (unknown.length > 0) {
    const meant = didYouMean(unknown[0] ?? "", known);
    return [
      {
        code: "unknown_blocker",
        message: `plan.json says it is blocked by ${unknown.join(", ")}, which the plan does not have.${meant ? ` Did you mean "${meant}"?` : ""}`,
      },
    ];
  }
  const blockers = blockerState(view, ticketId);
  if (blockers.state === "failed") {
    const first = blockers.ids[0] ?? "";
    return [
      {
        code: "blocker_failed",
        message: `${blockers.ids.join(", ")} did not complete.`,
        command: `orchestrator retry ${view.plan.id} ${first}`,
      },
    ];
  }
  if (blockers.state === "open") {
    const first = blockers.ids[0] ?? "";
    return [{ code: "blocked", message: `It waits for ${blockers.ids.join(", ")}.`, command: `orchestrator why ${view.plan.id} ${first}` }];
  }
  return [];
}

function ofClaims(world: World, view: PlanView, ticket: Ticket, limits: Limits): Reason[] {
  const holder = claimsOf(world, limits.worktreeRoot).holder(view, ticket);
  if (!holder) return [];
  return [
    {
      code: "shared",
      message: `It needs the ${holder.what}, which ${holder.planId}/${holder.ticketId} has until it ends.`,
      command: `orchestrator why ${holder.planId} ${holder.ticketId}`,
    },
  ];
}

function ofLimits(
  world: World,
  view: PlanView,
  ticket: Ticket,
  phase: ReturnType<typeof currentPhase>,
  limits: Limits,
  { now }: Circumstances,
): Reason[] {
  if (!phase) return [];
  const shortage = limits.spending && budgetsOf(world, limits.spending).shortage(view, ticket, phase);
  if (shortage) return [{ code: "budget", ...shortageText(shortage, view.plan.id, ticket.ticketId, phase.id) }];
  const used = usedShares(world, limits);
  const { providers } = limits;
  const agents = agentsOf(phase, ticket, view, limits);
  const trials = trialsOf(world, limits);
  const agent = agents.find((name) => isFree(name, trials, limits, now));
  if (providers && agents.length > 0 && agent === undefined) {
    return agents.map((name) => ({
      code: "parked" as const,
      message: `${parkText(providers, accountOf(providers, name), now)}.`,
      command: `orchestrator agents resume ${name}`,
    }));
  }
  return shares(view, ticket, phase, limits, agent)
    .filter((share) => (used.get(share.key) ?? 0) >= share.limit)
    .map((share) => ({
      code: "limit" as const,
      message: `All ${share.limit} places for ${share.key === "all" ? "runs" : share.key} are taken.`,
      command: "orchestrator status",
    }));
}
