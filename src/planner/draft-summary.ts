import type { Config } from "../domain/config.ts";
import type { PlanDraft, TicketDraft } from "../domain/draft.ts";
import type { Finding } from "../domain/errors.ts";
import type { EditedPlan } from "../engine/edit-plan.ts";
import type { PlanView } from "../engine/world.ts";
import { findingLines } from "./findings-text.ts";
import { planDraftOf } from "./plan-draft.ts";

/** A draft for the person who is to say yes to it: what it is for, who does what in which order, and what is doubtful. */
export function draftSummary(draft: PlanDraft, config: Config, findings: readonly Finding[] = []): string {
  const { id, name, goal, repo, workflow, tickets } = draft;
  const head = [
    name && name !== id ? `${name} (${id})` : id,
    ...(goal ? [goal] : []),
    `${count(tickets.length, "ticket")}, workflow ${workflow ?? "as each ticket says"}, agent ${draft.agent ?? config.defaultAgent}, in ${repo ?? "the repository of each ticket"}`,
    ...(draft.budgetUsd === undefined ? [] : [`at most $${draft.budgetUsd}`]),
    `Order: ${waves(tickets)
      .map((wave) => wave.join(" + "))
      .join(" -> ")}`,
  ];
  return [...head, "", ...tickets.flatMap((ticket) => ticketLines(ticket, draft)), ...doubts(findings)].join("\n");
}

/** Changes of a plan for the person who is to say yes to them: what is done, and what it says then. */
export function editSummary(view: PlanView, { added, changed, fields, done }: EditedPlan, findings: readonly Finding[]): string {
  const draft = planDraftOf(view);
  return [
    ...done.map((line) => `- ${line}`),
    ...(Object.keys(fields).length > 0 ? ["", ...fieldLines(fields)] : []),
    ...[...changed].flatMap(([id, set]) => ["", id, ...fieldLines(set)]),
    ...added.flatMap((ticket) => ["", ...ticketLines(ticket, draft), ...fieldLines({ description: ticket.description })]),
    ...doubts(findings),
  ].join("\n");
}

function fieldLines(fields: object): string[] {
  return Object.entries(fields).flatMap(([key, value]) => {
    const lines = Array.isArray(value) && value.length > 0 ? value.map((item) => `- ${item}`) : plain(value).split("\n");
    return lines.length === 1 ? [`    ${key}: ${lines[0]}`] : [`    ${key}:`, ...lines.map((line) => `      ${line}`)];
  });
}

function plain(value: unknown): string {
  if (value === null || value === "" || (Array.isArray(value) && value.length === 0)) return "(nothing)";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function doubts(findings: readonly Finding[]): string[] {
  return findings.length === 0 ? [] : ["", "Doubtful:", ...findingLines(findings)];
}

function ticketLines(ticket: TicketDraft, draft: PlanDraft): string[] {
  const facts = [
    ...(ticket.type ? [ticket.type] : []),
    ...(ticket.priority ? [ticket.priority] : []),
    ...(ticket.repo && ticket.repo !== draft.repo ? [ticket.repo] : []),
    ...(ticket.workflow && ticket.workflow !== draft.workflow ? [`workflow ${ticket.workflow}`] : []),
    ...(ticket.agent ? [`agent ${ticket.agent}`] : []),
    ...(ticket.skills?.length ? [`skills ${ticket.skills.join(", ")}`] : []),
    ...(ticket.blockedBy.length > 0 ? [`after ${ticket.blockedBy.join(", ")}`] : []),
  ];
  return [
    `${ticket.id}  ${ticket.title}${facts.length > 0 ? `  [${facts.join("; ")}]` : ""}`,
    ...(ticket.scope.length > 0 ? [`    in ${ticket.scope.join(", ")}`] : []),
    ...ticket.acceptanceCriteria.map((criterion) => `    - ${criterion}`),
  ];
}

/** Ids by the round in which their turn comes when nothing else keeps them. */
export function waves(tickets: readonly Pick<TicketDraft, "id" | "blockedBy">[]): string[][] {
  const rounds: string[][] = [];
  const done = new Set<string>();
  let left = [...tickets];
  while (left.length > 0) {
    const next = left.filter(({ blockedBy }) => blockedBy.every((id) => done.has(id)));
    // What waits for itself, or for something that is not there, never has a turn.
    if (next.length === 0) return [...rounds, left.map(({ id }) => id)];
    rounds.push(next.map(({ id }) => id));
    for (const { id } of next) done.add(id);
    left = left.filter(({ id }) => !done.has(id));
  }
  return rounds;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
