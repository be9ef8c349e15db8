import { ticketOf } from "../domain/draft-files.ts";
import type { Answer, Intent } from "../domain/event.ts";
import { editPlan as decide, type EditedPlan } from "../engine/edit-plan.ts";
import { type PlanView, ticketIds } from "../engine/world.ts";
import type { IntentTools } from "./intents.ts";

/** Adds, changes and removes tickets of a plan, and changes what they wait for: all that was asked, or nothing. */
export async function editPlan(tools: IntentTools, { planId, edits }: Extract<Intent, { type: "edit-plan" }>): Promise<Answer> {
  const named = edits.flatMap((edit) => ("ticketId" in edit ? [edit.ticketId] : []));
  // A ticket that began meanwhile would be changed under its agent's hands.
  return tools.alone(planId, [...new Set(named)], async () => {
    const view = tools.world.plans.get(planId);
    if (!view) return { result: "refused", message: `There is no plan "${planId}".` };
    const edited = decide(view, edits);
    if ("refused" in edited) return { result: "refused", message: `${sentence(edited.refused.join("; "))}.` };
    if (edited.done.length === 0) return { result: "applied", message: `Nothing to do: plan "${planId}" is so already.` };
    await write(tools, planId, edited);
    return { result: "applied", message: `Plan "${planId}": ${edited.done.join("; ")}.` };
  });
}

async function write(tools: IntentTools, planId: string, { added, changed, removed, fields, list }: EditedPlan): Promise<void> {
  const at = tools.now();
  try {
    await tools.index.editPlan(planId, {
      added: added.map((draft) => ticketOf(planId, draft, at)),
      change: (present) => ({ ...fields, tickets: list(present.tickets) }),
      changed,
      removed,
    });
  } finally {
    // Of what went wrong half way, the first half counts.
    tools.world.refresh(planId);
    tools.changed();
  }
}

/** Puts a plan away that is over. */
export async function archivePlan(
  tools: IntentTools,
  view: PlanView,
  { planId, failed }: Extract<Intent, { type: "archive-plan" }>,
): Promise<Answer> {
  const ids = [...ticketIds(view)];
  const broken = ids.filter((id) => view.broken.has(id) || !view.tickets.has(id));
  const open = ids.filter((id) => view.tickets.get(id)?.activity.state !== "finished" && !broken.includes(id));
  const failures = ids.filter((id) => {
    const activity = view.tickets.get(id)?.activity;
    return activity?.state === "finished" && (activity.outcome === "failed" || activity.outcome === "needs_attention");
  });
  const refuse = (message: string, hint: string): Answer => ({
    result: "refused",
    message: `Plan "${planId}" is not over: ${message}.`,
    hint,
  });
  if (broken.length > 0) return refuse(`${some(broken)} cannot be read`, "orchestrator check shows what is wrong");
  if (open.length > 0)
    return refuse(`${some(open)} ${open.length === 1 ? "has" : "have"} not ended`, `to give it up: orchestrator cancel-plan ${planId}`);
  if (failures.length > 0 && !failed) {
    return refuse(`${some(failures)} failed`, `orchestrator retry ${planId} ${failures[0]}, or put it away as it is with --failed`);
  }
  const dir = await tools.index.archivePlan(planId);
  tools.world.refresh(planId);
  tools.changed();
  return { result: "applied", message: `Plan "${planId}" was put away: ${dir}` };
}

function some(ids: readonly string[]): string {
  return ids.length > 5 ? `${ids.slice(0, 5).join(", ")} and ${ids.length - 5} more` : ids.join(", ");
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
