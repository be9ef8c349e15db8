import { statusOf } from "../domain/ticket-status.ts";
import { type PlanView, planEntry, planStatus } from "../engine/world.ts";
import { type PlanRow, planRow } from "../views/rows.ts";
import { waves } from "./draft-summary.ts";
import { planDraftOf } from "./plan-draft.ts";

/** A plan with its tickets as they stand, for a model or a person: everything that a planner decides on. */
export function planText(view: PlanView): string {
  const { plan } = view;
  const status = planStatus(view);
  const facts = [`workflow ${plan.workflow ?? "as each ticket says"}`, `repo ${plan.repo ?? "as each ticket says"}`];
  if (plan.agent) facts.push(`agent ${plan.agent}`);
  if (plan.budgetUsd !== null) facts.push(`at most $${plan.budgetUsd}`);
  const order = waves(planDraftOf(view).tickets).map((wave) => wave.join(" + "));
  return [
    `${plan.id} [${status}]${plan.name && plan.name !== plan.id ? ` ${plan.name}` : ""}`,
    ...(plan.goal ? [`goal: ${plan.goal}`] : []),
    facts.join("; "),
    `order: ${order.join(" -> ")}`,
    ...(status === "draft" ? [`It is a draft and waits for a person: orchestrator plan approve ${plan.id}`] : []),
    ...plan.tickets.flatMap(({ ticketId }) => ["", ...ticketText(view, ticketId)]),
  ].join("\n");
}

function ticketText(view: PlanView, ticketId: string): string[] {
  const ticket = view.tickets.get(ticketId);
  if (!ticket) return [`${ticketId} [unreadable] ${view.broken.get(ticketId) ?? "it has no file"}`];
  const { title, description, acceptanceCriteria, scope, type, priority, workflow, repo, branch, agent, model, budgetUsd } = ticket;
  const { skills, source, error } = ticket;
  const after = planEntry(view.plan, ticketId)?.blockedBy ?? [];
  const facts = [
    ...(type ? [type] : []),
    ...(priority ? [priority] : []),
    ...(workflow ? [`workflow ${workflow}`] : []),
    ...(repo ? [`repo ${repo}`] : []),
    ...(branch ? [`branch ${branch}`] : []),
    ...(agent ? [`agent ${agent}`] : []),
    ...(model ? [`model ${model}`] : []),
    ...(skills.length > 0 ? [`skills ${skills.join(", ")}`] : []),
    ...(budgetUsd === null ? [] : [`at most $${budgetUsd}`]),
    ...(after.length > 0 ? [`after ${after.join(", ")}`] : []),
    ...(source ? [`from ${source.kind} ${source.id}`] : []),
  ];
  return [
    `${ticketId} [${statusOf(ticket)}] ${title}${facts.length > 0 ? ` (${facts.join("; ")})` : ""}`,
    ...(description ? description.split("\n").map((line) => `  ${line}`) : []),
    ...(scope.length > 0 ? [`  scope: ${scope.join(", ")}`] : []),
    ...acceptanceCriteria.map((criterion) => `  - ${criterion}`),
    ...(error === null ? [] : [`  error: ${error}`]),
  ];
}

/** One line per plan. */
export function planLine(row: PlanRow): string {
  const counts = Object.entries(row.counts).flatMap(([status, n]) => (n > 0 ? [`${n} ${status}`] : []));
  return `${row.id} [${row.status}]${row.name && row.name !== row.id ? ` ${row.name}` : ""}: ${counts.join(", ")}`;
}

/** What is going on in a plan: one line per ticket that has not ended well. */
export function goingOn(view: PlanView, reasons: (ticketId: string) => string | undefined): string[] {
  const row = planRow(view, []);
  const open = row.tickets.filter(({ status }) => !["complete", "skipped", "cancelled"].includes(status));
  const draft = row.status === "draft" ? [`  waits for approval: orchestrator plan approve ${row.id}`] : [];
  const lines = open.map(({ ticketId, title, status, phase }) => {
    const why = reasons(ticketId);
    return `  ${ticketId} [${status}${phase ? ` in ${phase.id}` : ""}] ${title}${why ? `: ${why}` : ""}`;
  });
  return [planLine(row), ...draft, ...lines];
}
