import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import type { PlanDraft } from "../domain/draft.ts";
import { UserError } from "../domain/errors.ts";
import { Verdict } from "../domain/session.ts";
import { type PlanView, planStatus } from "../engine/world.ts";
import { findPlan } from "../planner/change-plan.ts";
import { findingLines } from "../planner/findings-text.ts";
import { planDraftOf } from "../planner/plan-draft.ts";
import { readPlans } from "../planner/read-plans.ts";
import { planText } from "../planner/show-plan.ts";
import { writePlan } from "../planner/write-plan.ts";
import { runDir } from "../state/layout.ts";
import { takenPlanIds } from "../state/new-plan.ts";
import { benchOf } from "./bench.ts";
import type { Ending } from "./command.ts";
import { oneLine, printData, printLine } from "./print.ts";
import { run as runTicket } from "./run.ts";

/** A plan that is still found wanting is a person's matter then. */
const mostRounds = 3;
const ticketId = "REVIEW";
const workflow = "plan-review";

/** Has an agent that has not seen the conversation review a plan, and prints what it found. */
export async function run(context: Context, [planId = ""]: string[], options: { agent?: string; json?: boolean }): Promise<Ending> {
  const config = await context.config();
  const bench = benchOf(context, config, { approved: true });
  const view = findPlan(bench, planId);
  const draft = planDraftOf(view);
  const repo = draft.repo ?? draft.tickets.find((ticket) => ticket.repo !== undefined)?.repo;
  if (repo === undefined) throw new UserError(`Plan "${planId}" names no repository to review it in.`, { exit: "invalid" });
  const reviews = reviewsOf(planId, config);
  const round = roundAfter(reviews, planId);
  const { agent = "" } = options;
  const description = planText(view);
  const begun = reviews.find(
    ({ plan, tickets }) => !hasEnded(tickets) && tickets.get(ticketId)?.description === description && (plan.agent ?? "") === agent,
  );
  const review: PlanDraft = {
    id: begun?.plan.id ?? freeId(planId, config),
    name: reviewName(planId),
    goal: `Whether plan "${planId}" can be worked as it is, round ${round} of ${mostRounds}.`,
    repo,
    workflow,
    ...(agent === "" ? {} : { agent }),
    ...(draft.baseBranch ? { baseBranch: draft.baseBranch } : {}),
    tickets: [{ id: ticketId, title: reviewName(planId), description, acceptanceCriteria: [], blockedBy: [], scope: [] }],
  };
  const written = begun ? undefined : await writePlan(review, bench);
  if (written && written.result !== "written") {
    const errors = written.findings.filter(({ severity }) => severity === "error");
    throw new UserError(["The review cannot be made.", ...findingLines(errors)].join("\n"), { exit: "invalid" });
  }
  // What it says of itself is talk here: the answer is the verdict.
  const ending = await runTicket({ ...context, stdout: { write: (text: string) => context.say(text.trimEnd()) } }, [review.id, ticketId]);
  if (ending === "interrupted" || ending === "terminated" || ending === "tryLater") {
    context.say(`orchestrator plan review ${planId} goes on with it`);
    return ending;
  }
  // What was said before the run was found wanting for something else is no answer.
  const history = findPlan(bench, review.id).tickets.get(ticketId)?.phaseHistory ?? [];
  const verdict = ending === "ok" ? verdictOf(history, review.id, config) : undefined;
  if (verdict === undefined) {
    throw new UserError(`There is no verdict on plan "${planId}", so this counts as no round.`, {
      hint: `orchestrator why ${review.id} ${ticketId}`,
      exit: "needsAttention",
    });
  }
  if (options.json) printData(context, { planId, review: review.id, round, ...verdict });
  else printVerdict(context, verdict);
  if (verdict.verdict !== "fail") {
    const next = planStatus(view) === "draft" ? `orchestrator plan approve ${planId}, then orchestrator daemon` : "orchestrator daemon";
    context.say(`\nThe plan can be worked: ${next}`);
    return "ok";
  }
  const next =
    round < mostRounds
      ? `Mend it and have it reviewed again (round ${round} of ${mostRounds}).`
      : `That was the last of ${mostRounds} rounds: a person has to decide.`;
  context.say(`\n${next}`);
  return "needsAttention";
}

function reviewName(planId: string): string {
  return `Review of plan "${planId}"`;
}

/** The reviews of a plan that there are, whatever came of them. */
function reviewsOf(planId: string, config: Config): PlanView[] {
  const plans = [...readPlans(config).plans.values()];
  return plans.filter(({ plan }) => plan.workflow === workflow && plan.name === reviewName(planId));
}

function hasEnded(tickets: PlanView["tickets"]): boolean {
  return tickets.get(ticketId)?.activity.state === "finished";
}

/** Which round comes next. Reviews without a verdict, whose ticket is not complete, are none. */
function roundAfter(reviews: readonly PlanView[], planId: string): number {
  const done = reviews.filter(({ tickets }) => tickets.get(ticketId)?.status === "complete");
  if (done.length < mostRounds) return done.length + 1;
  throw new UserError(`Plan "${planId}" was reviewed ${mostRounds} times already.`, {
    exit: "conflict",
    hint: `read what was found, orchestrator logs ${done.at(-1)?.plan.id} ${ticketId}, and decide: orchestrator plan approve ${planId}`,
  });
}

/** An id for one more review. Ids are bounded, and the plan's may be as long as it can be. */
function freeId(planId: string, { stateDir }: Config): string {
  const taken = takenPlanIds(stateDir);
  for (let n = 1; ; n += 1) {
    const id = `review-${planId.slice(0, 50).replace(/[.-]+$/, "")}-${n}`;
    if (!taken.has(id)) return id;
  }
}

function verdictOf(history: readonly { phase: string; runId?: string | undefined }[], planId: string, config: Config): Verdict | undefined {
  const runId = history.findLast((entry) => entry.phase === "review")?.runId;
  if (runId === undefined) return undefined;
  try {
    return Verdict.parse(JSON.parse(readFileSync(join(runDir(config.home, { planId, ticketId, runId }), "verdict.json"), "utf8")));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function printVerdict(context: Context, { verdict, summary, findings }: Verdict): void {
  const word = { pass: "approved", pass_with_comments: "approved, with suggestions", fail: "changes requested" }[verdict];
  printLine(context, `${context.style(verdict === "fail" ? "yellow" : "green", word)}${summary ? `: ${oneLine(summary)}` : ""}`);
  for (const { severity, file, message } of findings)
    printLine(context, `- ${severity}: ${file ? `${file}: ` : ""}${oneLine(message, 2000)}`);
}
