import type { PlanDraft } from "../domain/draft.ts";
import type { Finding, Problem } from "../domain/errors.ts";
import { inDraft, type Place } from "./check-draft.ts";

/** What makes a draft hard to work from or to judge; all of it are warnings. `place` as for checkDraft(). */
export function draftQuality(draft: PlanDraft, place: Place = inDraft(draft)): Finding[] {
  return criteriaProblems(draft).map(place);
}

function criteriaProblems({ tickets }: PlanDraft): Problem[] {
  return tickets.flatMap(({ acceptanceCriteria }, i) =>
    acceptanceCriteria.length > 0
      ? []
      : [
          warning(
            "no-criteria",
            ["tickets", i, "acceptanceCriteria"],
            "has no acceptance criteria",
            "say what can be observed once it is done",
          ),
        ],
  );
}

function warning(rule: string, path: Problem["path"], message: string, fix: string): Problem {
  return { severity: "warning", rule, path, message, fix };
}
