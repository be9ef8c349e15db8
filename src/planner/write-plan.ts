import type { PlanDraft } from "../domain/draft.ts";
import { planOf, ticketOf } from "../domain/draft-files.ts";
import type { Finding } from "../domain/errors.ts";
import { instant } from "../domain/time.ts";
import type { PlanView } from "../engine/world.ts";
import { createPlan } from "../state/new-plan.ts";
import { checkDraft, type Place } from "./check-draft.ts";
import { draftFacts } from "./draft-facts.ts";
import { draftQuality } from "./draft-quality.ts";
import { draftSummary } from "./draft-summary.ts";
import { settleDraft } from "./settle-draft.ts";
import type { Bench } from "./tool.ts";

/** What became of a plan that was to be written. */
export type Written =
  /** A `draft` waits for `orchestrator plan approve`. Findings are warnings. */
  | { result: "written"; planId: string; dir: string; status: "draft" | "active"; findings: Finding[] }
  /** Findings say what to mend. Nothing is on disk. */
  | { result: "refused"; findings: Finding[] }
  /** A person said no. Nothing is on disk. */
  | { result: "declined"; findings: Finding[] };

/**
 * Checks a draft and writes it as a new plan, in one step. It is active once a person has approved it, on the bench or
 * beforehand; where nobody can be asked it is a draft. `place` as for checkDraft(). Throws a UserError (conflict) where somebody else was faster with the same id.
 */
export async function writePlan(draft: PlanDraft, bench: Bench, place?: Place): Promise<Written> {
  const settled = settleDraft(draft, bench);
  const findings = await findingsOf(settled, bench, place === undefined ? {} : { place });
  if (findings.some(({ severity }) => severity === "error")) return { result: "refused", findings };
  const consent = await askConsent(bench, `Write plan "${settled.id}"?`, draftSummary(settled, bench.config, findings));
  if (consent === "declined") return { result: "declined", findings };
  const at = instant(Date.now());
  const status = consent === "approved" ? "active" : "draft";
  const tickets = settled.tickets.map((ticket) => ticketOf(settled.id, ticket, at));
  const dir = await createPlan(bench.config.stateDir, planOf(settled, status, bench.by, at), tickets);
  return { result: "written", planId: settled.id, dir, status, findings };
}

/** Everything that can be said of a draft; `view` is the plan on disk, where there is one. */
export async function findingsOf(draft: PlanDraft, bench: Bench, options: { view?: PlanView; place?: Place } = {}): Promise<Finding[]> {
  const { view, place } = options;
  return [...checkDraft(draft, await draftFacts(draft, bench, view), place), ...draftQuality(draft, place)];
}

/** What a person says to this, or has said beforehand; `nobody` where there is none to ask. */
export async function askConsent(bench: Bench, title: string, text: string): Promise<"approved" | "declined" | "nobody"> {
  if (bench.approved) return "approved";
  if (!bench.person) return "nobody";
  return (await bench.person.confirm(title, text)) ? "approved" : "declined";
}
