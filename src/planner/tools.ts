import { PlanDraft } from "../domain/draft.ts";
import { UserError } from "../domain/errors.ts";
import { problemsOf } from "../inputs/schema-problems.ts";
import { checkDraft, inDraft } from "./check-draft.ts";
import { draftFacts } from "./draft-facts.ts";
import { findingCounts, findingLines } from "./findings-text.ts";
import type { Bench, PlanTool, ToolAnswer } from "./tool.ts";
import { writePlan } from "./write-plan.ts";

const createPlanTool: PlanTool<PlanDraft> = {
  name: "create_plan",
  description:
    "Checks a plan and writes it. Call it once with the whole plan. A person is asked first where there is one; otherwise the plan stays a draft until it is approved. With errors nothing is written: mend them and call again.",
  input: PlanDraft,
  readOnly: false,
  async run(draft, bench) {
    const written = await writePlan(draft, bench);
    const lines = findingLines(written.findings);
    switch (written.result) {
      case "refused":
        return refused(`Nothing was written: ${findingCounts(written.findings)}.`, lines);
      case "declined":
        return refused("declined: the person said no, and nothing was written. Ask what has to change.", []);
      case "written": {
        const next =
          written.status === "active"
            ? "It is active: a running daemon takes it up."
            : `It is a draft, and nothing of it runs before a person says: orchestrator plan approve ${written.planId}`;
        return said([`Plan "${written.planId}" is written (${written.dir}). ${next}`, ...lines]);
      }
    }
  },
};

/** Everything that a planner can do, whatever agent it is. */
export const planTools: readonly PlanTool[] = [createPlanTool as PlanTool];

/**
 * Runs a tool on what an agent sent, whatever that is: input that does not fit, and what a person could mend, come back as
 * answers with `ok: false`. Throws for bugs alone.
 */
export async function runTool(tool: PlanTool, input: unknown, bench: Bench): Promise<ToolAnswer> {
  const parsed = tool.input.safeParse(input);
  if (!parsed.success) {
    const findings =
      tool.input === (PlanDraft as unknown)
        ? checkDraft(input, await draftFacts({ id: "draft", name: "", goal: "", tickets: [] }, bench))
        : problemsOf(tool.input, input, parsed.error.issues).map(inDraft(input));
    return refused(`The input does not fit: ${findingCounts(findings)}. Nothing was done.`, findingLines(findings));
  }
  try {
    return await tool.run(parsed.data, bench);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return refused(error.message, error.hint === undefined ? [] : [`  fix: ${error.hint}`]);
  }
}

function said(lines: readonly string[]): ToolAnswer {
  return { ok: true, text: lines.join("\n") };
}

function refused(head: string, lines: readonly string[]): ToolAnswer {
  return { ok: false, text: [head, ...lines].join("\n") };
}
