import { sendOrApply } from "../daemon/send-intent.ts";
import type { PlanDraft } from "../domain/draft.ts";
import { type Finding, suggestion, UserError } from "../domain/errors.ts";
import type { PlanEdit } from "../domain/plan-edit.ts";
import { editPlan } from "../engine/edit-plan.ts";
import { type PlanView, planStatus } from "../engine/world.ts";
import { programVersion } from "../inputs/assets.ts";
import { checkDraft } from "./check-draft.ts";
import { draftFacts } from "./draft-facts.ts";
import { draftQuality } from "./draft-quality.ts";
import { editSummary } from "./draft-summary.ts";
import { editedDraft, planDraftOf } from "./plan-draft.ts";
import { readPlans } from "./read-plans.ts";
import { settleEdit } from "./settle-draft.ts";
import type { Bench } from "./tool.ts";
import { askConsent } from "./write-plan.ts";

/** What became of changes to a plan. */
export type Changed =
  /** The message says what was done. Findings are warnings about what was touched. */
  | { result: "changed" | "unchanged"; message: string; findings: Finding[] }
  /** A daemon has the change and did not answer in time: it is applied later, or refused. */
  | { result: "queued"; message: string; findings: Finding[] }
  /** The message and the findings say why. Nothing was changed. */
  | { result: "refused"; message: string; findings: Finding[] }
  /** A person said no. Nothing was changed. */
  | { result: "declined"; message: string; findings: Finding[] };

/**
 * Changes a plan that exists: all of the edits or none, through the daemon while one runs. A draft and a paused plan are
 * changed at once; of a plan that is being worked a person is asked, and where nobody can be asked it stays as it is.
 * Throws a UserError for a plan that is not there or cannot be read.
 */
export async function changePlan(planId: string, edits: readonly PlanEdit[], bench: Bench): Promise<Changed> {
  const view = findPlan(bench, planId);
  const settled = edits.map((edit) => settleEdit(edit, bench));
  const decided = editPlan(view, settled);
  if ("refused" in decided) {
    const findings = decided.refused.map((message): Finding => ({ severity: "error", rule: "edit", file: `plan "${planId}"`, message }));
    return { result: "refused", message: "Nothing was changed.", findings };
  }
  if (decided.done.length === 0) return { result: "unchanged", message: `Nothing to do: plan "${planId}" is so already.`, findings: [] };
  const findings = await findingsOfEdits(view, settled, bench);
  if (findings.some(({ severity }) => severity === "error")) return { result: "refused", message: "Nothing was changed.", findings };
  const status = planStatus(view);
  if (status !== "draft" && status !== "paused") {
    const consent = await askConsent(bench, `Change plan "${planId}", which is ${status}?`, editSummary(view, decided, findings));
    if (consent === "declined") return { result: "declined", message: "declined: the person said no, and nothing was changed.", findings };
    if (consent === "nobody") {
      const message = `Plan "${planId}" is ${status}: only a person may change it, and nobody is there to be asked. Nothing was changed.`;
      return { result: "refused", message: `${message} Say what is to be changed and why, so that a person can.`, findings };
    }
  }
  const { config, env, by } = bench;
  const answer = await sendOrApply({ config, env, version: programVersion() }, { type: "edit-plan", planId, by, edits: settled });
  if (answer === undefined) {
    return { result: "queued", message: "The daemon has the change and has not answered yet; status shows what came of it.", findings };
  }
  if (answer.result === "applied") return { result: "changed", message: answer.message, findings };
  const hint = answer.hint === undefined ? "" : ` (${answer.hint})`;
  return { result: "refused", message: `Nothing was changed: ${answer.message}${hint}`, findings: [] };
}

/** The plan as it is on disk. Throws a UserError for one that is not there or cannot be read. */
export function findPlan({ config }: Bench, planId: string): PlanView {
  const world = readPlans(config);
  const view = world.plans.get(planId);
  if (view) return view;
  const broken = world.brokenPlans.get(planId);
  if (broken !== undefined) throw new UserError(`Plan "${planId}" cannot be read: ${broken}`, { exit: "invalid" });
  throw new UserError(`There is no plan "${planId}"${suggestion(planId, world.plans.keys())}.`, {
    hint: `known: ${[...world.plans.keys()].join(", ") || "none"}`,
    exit: "notFound",
  });
}

/**
 * What is wrong with what edits touch, and what is wrong elsewhere because of them. What was wrong before with the rest of
 * the plan is not their doing.
 */
async function findingsOfEdits(view: PlanView, edits: readonly PlanEdit[], bench: Bench): Promise<Finding[]> {
  const before = planDraftOf(view);
  const after = editedDraft(before, edits);
  const facts = await draftFacts(after, bench, view);
  const all = (draft: PlanDraft) => [...checkDraft(draft, facts), ...draftQuality(draft)];
  const textOf = ({ rule, message }: Finding) => `${rule}: ${message}`;
  const known = new Set(all(before).map(textOf));
  const touched = new Set(edits.map((edit) => (edit.do === "add" ? edit.ticket.id : edit.do === "plan" ? "" : edit.ticketId)));
  return all(after).filter((finding) => {
    const position = /^tickets\[(\d+)\]/.exec(finding.field ?? "")?.[1];
    return !known.has(textOf(finding)) || touched.has(position === undefined ? "" : (after.tickets[Number(position)]?.id ?? ""));
  });
}
