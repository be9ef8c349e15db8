import { templateVariables } from "../inputs/prompts.ts";
import type { PhaseContext } from "./phase.ts";

/** What templates of this phase can name. `base` is only known where a repository is. */
export function phaseVariables(
  context: PhaseContext,
  facts: { base: string; failureContext?: string; skills?: string },
): Record<string, unknown> {
  const { ticket, plan, resolved, phase } = context;
  return templateVariables(ticket, plan, resolved, {
    phase: phase.id,
    base: facts.base,
    baseSha: ticket.baseSha ?? "",
    attempt: (ticket.retries[phase.id] ?? 0) + 1,
    params: phase.params ?? {},
    agent: context.agent,
    ...(facts.failureContext === undefined ? {} : { failureContext: facts.failureContext }),
    ...(facts.skills === undefined ? {} : { skills: facts.skills }),
  });
}
