import type { Config } from "../domain/config.ts";
import type { Answer, Intent, PlanIntent, TicketEvent, TicketIntent } from "../domain/event.ts";
import type { Session } from "../domain/session.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";
import { type PlanView, planStatus } from "../engine/world.ts";
import type { Index } from "../state/index.ts";
import type { LiveWorld } from "./live-world.ts";
import type { AgentParks } from "./parks.ts";
import { archivePlan, editPlan } from "./plan-edits.ts";
import { upgradeWorkflow } from "./upgrade-workflow.ts";

/** What intents are carried out with. */
export interface IntentTools {
  world: LiveWorld;
  index: Index;
  config(): Config;
  parks: AgentParks;
  apply(planId: string, ticketId: string, event: TicketEvent, settles?: string): Promise<{ refused?: string }>;
  /** Runs `step` while no event reaches these tickets; `step` itself may send them none. */
  alone<T>(planId: string, ticketIds: readonly string[], step: () => Promise<T>): Promise<T>;
  now(): Instant;
  changed(): void;
}

/**
 * Does what a person asked for. The answer is for that person: what was done, or why it was not. An intent that comes
 * again under the same `id`, because a crash kept its answer from being written, is not done twice.
 */
export async function applyIntent(tools: IntentTools, intent: Intent, id?: string): Promise<Answer> {
  if (intent.type === "resume-agent") {
    const answer = await tools.parks.resume(intent.agent);
    tools.changed();
    return answer;
  }
  const view = tools.world.plans.get(intent.planId);
  if (!view) {
    const broken = tools.world.brokenPlans.get(intent.planId);
    return broken
      ? { result: "refused", message: `Plan "${intent.planId}" cannot be read: ${broken}` }
      : { result: "refused", message: `There is no plan "${intent.planId}".`, hint: "orchestrator status lists them" };
  }
  return "ticketId" in intent ? applyToTicket(tools, view, intent, id) : applyToPlan(tools, view, intent, id);
}

async function applyToPlan(tools: IntentTools, view: PlanView, intent: PlanIntent, id: string | undefined): Promise<Answer> {
  switch (intent.type) {
    case "pause-plan": {
      // Resuming it later would let a plan run that nobody has approved.
      if (view.plan.status === "draft") return { result: "refused", message: `Plan "${intent.planId}" is a draft: nothing of it runs.` };
      if (view.plan.hold) return { result: "refused", message: `Plan "${intent.planId}" is already paused by ${view.plan.hold.by}.` };
      const hold = { by: intent.by, at: tools.now(), reason: intent.reason };
      await tools.index.updatePlan(intent.planId, { status: "paused", hold });
      tools.world.refresh(intent.planId);
      const tickets = tools.world.plans.get(intent.planId)?.tickets ?? view.tickets;
      const running = [...tickets.values()].filter((ticket) => ticket.activity.state === "running");
      await Promise.all(running.map((ticket) => tools.apply(intent.planId, ticket.ticketId, { type: "stop_requested", at: tools.now() })));
      return {
        result: "applied",
        message: `Plan "${intent.planId}" is paused${running.length > 0 ? `; ${running.length} running tickets stop` : ""}.`,
      };
    }
    case "resume-plan": {
      if (view.plan.status === "draft") {
        const hint = `orchestrator plan approve ${intent.planId}`;
        return { result: "refused", message: `Plan "${intent.planId}" is a draft, and nobody has approved it yet.`, hint };
      }
      if (!view.plan.hold && view.plan.status !== "paused") {
        return { result: "refused", message: `Plan "${intent.planId}" is not paused.` };
      }
      const status = planStatus({ ...view, plan: { ...view.plan, status: "active", hold: null } });
      await tools.index.updatePlan(intent.planId, { status, hold: null });
      tools.world.refresh(intent.planId);
      tools.changed();
      return { result: "applied", message: `Plan "${intent.planId}" goes on.` };
    }
    case "budget-plan": {
      const { budgetUsd, budgetTokens } = intent;
      const usd = budgetUsd === undefined ? {} : { budgetUsd };
      await tools.index.updatePlan(intent.planId, { ...usd, ...(budgetTokens === undefined ? {} : { budgetTokens }) });
      tools.world.refresh(intent.planId);
      tools.changed();
      return { result: "applied", message: `The budget of plan "${intent.planId}" is set.` };
    }
    case "approve-plan": {
      if (view.plan.status !== "draft") {
        return { result: "refused", message: `Plan "${intent.planId}" is no draft: it was approved already.` };
      }
      const status = planStatus({ ...view, plan: { ...view.plan, status: "active" } });
      await tools.index.updatePlan(intent.planId, { status });
      tools.world.refresh(intent.planId);
      tools.changed();
      return { result: "applied", message: `Plan "${intent.planId}" is approved and ${status}.` };
    }
    case "edit-plan":
      return editPlan(tools, intent);
    case "archive-plan":
      return archivePlan(tools, view, intent);
    case "cancel-plan":
      return cancelPlan(tools, view, intent, id);
    case "upgrade-workflow":
      return upgradeWorkflow(tools, intent);
  }
}

async function cancelPlan(
  tools: IntentTools,
  view: PlanView,
  { planId, by, reason }: Extract<PlanIntent, { type: "cancel-plan" }>,
  id: string | undefined,
): Promise<Answer> {
  const cancelled = await Promise.all(
    [...view.tickets.keys()].map(async (ticketId) => {
      if (id !== undefined && tools.index.hasApplied(planId, ticketId, id)) return [ticketId];
      const activity = tools.world.plans.get(planId)?.tickets.get(ticketId)?.activity;
      if (activity === undefined || activity.state === "finished") return [];
      if (activity.state === "running" && activity.stop?.next === "cancel") return [];
      const { refused } = await tools.apply(planId, ticketId, { type: "cancelled", at: tools.now(), by, reason }, id);
      return refused === undefined ? [ticketId] : [];
    }),
  );
  const ids = cancelled.flat();
  const unread = [...view.broken.keys()].filter((ticketId) => !view.tickets.has(ticketId));
  const left = unread.length > 0 ? `; ${unread.join(", ")} cannot be read and stays` : "";
  if (ids.length === 0) {
    return { result: "refused", message: `Plan "${planId}" has no ticket that could be cancelled: all of them have ended${left}.` };
  }
  const stopping = ids.filter((ticketId) => tools.world.plans.get(planId)?.tickets.get(ticketId)?.activity.state === "running");
  const runs = stopping.length > 0 ? `; the runs of ${stopping.join(", ")} are being stopped` : "";
  return {
    result: "applied",
    message: `${ids.length} ${ids.length === 1 ? "ticket" : "tickets"} of plan "${planId}" cancelled${runs}${left}.`,
  };
}

async function applyToTicket(tools: IntentTools, view: PlanView, intent: TicketIntent, id: string | undefined): Promise<Answer> {
  if (!view.tickets.has(intent.ticketId)) {
    const broken = view.broken.get(intent.ticketId);
    return {
      result: "refused",
      message: broken ?? `Plan "${intent.planId}" has no ticket "${intent.ticketId}".`,
      hint: `orchestrator status --plan ${intent.planId} lists them`,
    };
  }
  const again = id !== undefined && tools.index.hasApplied(intent.planId, intent.ticketId, id);
  const { refused } = again ? {} : await tools.apply(intent.planId, intent.ticketId, eventOf(intent, tools.now()), id);
  if (refused !== undefined) return { result: "refused", message: refused };
  const after = tools.world.plans.get(intent.planId)?.tickets.get(intent.ticketId);
  if (intent.type === "send") return { result: "applied", message: tellsWhom(intent, after) };
  const stopping = after?.activity.state === "running" && after.activity.stop ? "; its run is being stopped" : "";
  return {
    result: "applied",
    message: `Ticket ${intent.planId}/${intent.ticketId} is ${after?.status} in phase ${after?.currentPhase ?? "(not started)"}${stopping}.`,
  };
}

function tellsWhom({ planId, ticketId }: TicketIntent, ticket: Ticket | undefined): string {
  const activity = ticket?.activity;
  if (activity?.state === "running" && activity.stop?.next === "tell")
    return `Run ${activity.runId} of ${planId}/${ticketId} is being stopped; its agent goes on with your message.`;
  const when = ticket?.hold
    ? "once the ticket is resumed"
    : `the ticket is ${ticket?.status} in phase ${ticket?.currentPhase ?? "(not started)"}`;
  return `The next agent of ${planId}/${ticketId} gets your message; ${when}.`;
}

function eventOf(intent: TicketIntent, at: Instant): TicketEvent {
  const { by } = intent;
  switch (intent.type) {
    case "pause":
      return { type: "paused", at, hold: { by, at, reason: intent.reason } };
    case "resume":
      return { type: "resumed", at };
    case "retry":
      return { type: "retried", at, by, ...(intent.message === undefined ? {} : { message: intent.message }) };
    case "skip":
      return { type: "skipped", at, by, phase: intent.phase };
    case "cancel":
      return { type: "cancelled", at, by, reason: intent.reason };
    case "approve":
      return { type: "approved", at, by, ...(intent.message === undefined ? {} : { message: intent.message }) };
    case "reject":
      return { type: "rejected", at, by, feedback: intent.feedback };
    case "send":
      return { type: "sent", at, by, message: intent.message };
    case "take-over":
      return { type: "taken_over", at, by, ...sessionOf(intent) };
    case "hand-back":
      return { type: "handed_back", at, by, keep: intent.keep, ...sessionOf(intent) };
  }
}

function sessionOf({ session }: { session?: Session }): { session?: Session } {
  return session === undefined ? {} : { session };
}
