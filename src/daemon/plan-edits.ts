import { ticketOf } from "../domain/draft-files.ts";
import type { Answer, Intent } from "../domain/event.ts";
import { archiveRefusal, editPlan as decide, type EditedPlan } from "../engine/edit-plan.ts";
import type { PlanView } from "../engine/world.ts";
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
  const refusal = archiveRefusal(view, failed);
  if (refusal) return { result: "refused", ...refusal };
  const dir = await tools.index.archivePlan(planId);
  tools.world.refresh(planId);
  tools.changed();
  return { result: "applied", message: `Plan "${planId}" was put away: ${dir}` };
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
