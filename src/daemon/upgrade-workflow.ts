import { UserError } from "../domain/errors.ts";
import type { Answer, Intent } from "../domain/event.ts";
import type { Ticket } from "../domain/ticket.ts";
import { phaseById, type Workflow } from "../domain/workflow.ts";
import type { PlanView } from "../engine/world.ts";
import { readPinned, replacePinned } from "../state/pinned-workflows.ts";
import type { IntentTools } from "./intents.ts";
import { currentWorkflow } from "./plan-workflow.ts";

/**
 * Lets a plan go on under the present text of its workflow, unless a ticket would be left in a phase that is no longer
 * there. Done again after a crash it finds nothing to do.
 */
export async function upgradeWorkflow(tools: IntentTools, intent: Extract<Intent, { type: "upgrade-workflow" }>): Promise<Answer> {
  const { planId } = intent;
  const view = tools.world.plans.get(planId);
  if (!view) return { result: "refused", message: `There is no plan "${planId}".` };
  const known = new Set([view.plan, ...view.tickets.values()].flatMap(({ workflow }) => workflow ?? []));
  const name = intent.workflow ?? view.plan.workflow;
  const hint = `its tickets name ${[...known].join(", ") || "none"}`;
  if (name === null) return { result: "refused", message: `Plan "${planId}" names no workflow; which of its tickets'?`, hint };
  if (!known.has(name)) return { result: "refused", message: `Nothing in plan "${planId}" runs under a workflow "${name}".`, hint };
  // A ticket that moved on meanwhile could do so into a phase that is about to go.
  return tools.alone(planId, [...view.tickets.keys()], () => replace(tools, planId, name));
}

async function replace(tools: IntentTools, planId: string, name: string): Promise<Answer> {
  const { stateDir } = tools.config();
  const view = tools.world.plans.get(planId);
  if (!view) return { result: "refused", message: `There is no plan "${planId}".` };
  const what = `workflow "${name}"`;
  const pinned = readPinned(stateDir, planId, name);
  if (!pinned) {
    return {
      result: "applied",
      message: `Nothing to do: plan "${planId}" has not begun with ${what} and will begin with its present text.`,
    };
  }
  const present = presentOf(tools, name);
  if (typeof present === "string") return { result: "refused", message: present, hint: `orchestrator workflow lint ${name}` };
  if (present.text === pinned.text) {
    tools.world.reloadWorkflow(planId, name);
    return { result: "applied", message: `Nothing to do: plan "${planId}" runs under the present text of ${what} already.` };
  }
  const stranded = strandedTickets(view, name, present.workflow);
  if (stranded.length > 0) {
    const ids = present.workflow.phases.map((phase) => phase.id);
    const before = view.workflows.get(name);
    const both = typeof before === "object" ? ids.filter((id) => phaseById(before, id)) : [];
    return {
      result: "refused",
      message: `The present text of ${what} has no place for ${stranded.map(({ text }) => text).join(", ")}; its phases are ${ids.join(", ")}.`,
      hint: `first have each go on in a phase that both texts have, as with: orchestrator skip ${planId} ${stranded[0]?.ticketId} ${both[0] ?? "PHASE"}`,
    };
  }
  try {
    await replacePinned(stateDir, planId, name, present.text);
  } finally {
    tools.world.reloadWorkflow(planId, name);
    tools.changed();
  }
  const running = ticketsUnder(view, name).filter((ticket) => ticket.activity.state === "running");
  const judged =
    running.length > 0 ? `; it also decides what follows the present runs of ${running.map((t) => t.ticketId).join(", ")}` : "";
  return { result: "applied", message: `Plan "${planId}" goes on under the present text of ${what}${judged}.` };
}

function presentOf(tools: IntentTools, name: string): ReturnType<typeof currentWorkflow> {
  try {
    return currentWorkflow(tools.config(), name);
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

/** The tickets that have not ended and walk this workflow. */
function ticketsUnder(view: PlanView, name: string): Ticket[] {
  return [...view.tickets.values()].filter(
    (ticket) => (ticket.workflow ?? view.plan.workflow) === name && ticket.activity.state !== "finished",
  );
}

/** Tickets in a phase, or about to enter one, that the next text lacks or that is of another type there. */
function strandedTickets(view: PlanView, name: string, next: Workflow): { ticketId: string; text: string }[] {
  const before = view.workflows.get(name);
  return ticketsUnder(view, name).flatMap(({ ticketId, activity, currentPhase }) => {
    const stop = activity.state === "running" ? activity.stop : undefined;
    const lacking = [currentPhase, stop?.next === "enter" ? stop.phase : null].find((id) => id !== null && !phaseById(next, id));
    if (lacking) return [{ ticketId, text: `${ticketId} in ${lacking}` }];
    // What has begun cannot be ended by the rules of another type.
    const hasBegun = activity.state === "running" || activity.state === "awaiting" || activity.state === "waiting";
    if (!hasBegun || currentPhase === null || typeof before !== "object") return [];
    const [was, is] = [phaseById(before, currentPhase)?.type, phaseById(next, currentPhase)?.type];
    return was === is ? [] : [{ ticketId, text: `${ticketId} in ${currentPhase} (a ${was} phase so far, ${is} from now on)` }];
  });
}
