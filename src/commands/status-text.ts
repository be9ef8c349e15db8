import type { Context } from "../app.ts";
import { runningDaemon } from "../daemon/holder.ts";
import type { Config } from "../domain/config.ts";
import { epochMs, type Instant, instant, secondsBetween } from "../domain/time.ts";
import { parkText, placesOf } from "../engine/park.ts";
import { stuckText } from "../engine/progress.ts";
import { providersOf } from "../engine/world.ts";
import { spaceProblem } from "../lib/disk-space.ts";
import type { PlanRow, ShownStatus, TicketRow } from "../views/rows.ts";
import type { BudgetNotes } from "./budget-notes.ts";
import { parksOf } from "./parks.ts";
import { columns, duration, oneLine, printLine, statusText } from "./print.ts";

/** Prints plans with their tickets for people, and who works them or why nobody does. `detailed`: also how a plan came to be. */
export function printStatus(context: Context, rows: readonly PlanRow[], config: Config, detailed: boolean, notes: BudgetNotes): void {
  const { home, stateDir, worktreeRoot, minFreeMiB } = config;
  const daemon = runningDaemon(home);
  const stopped = spaceProblem([stateDir, worktreeRoot], minFreeMiB);
  const now = instant(Date.now());
  if (rows.length === 0) printLine(context, "No plans found.");
  for (const row of rows) printLine(context, `${planLines(context, row, now, detailed, notes).join("\n")}\n`);
  const since = daemon && `pid ${daemon.pid}, up ${duration(secondsBetween(daemon.since, now))}`;
  printLine(context, daemon ? `Daemon: running (${since})` : "Daemon: not running");
  for (const line of parkLines(config, now)) printLine(context, `${context.style("yellow", "Agents:")} ${oneLine(line)}`);
  if (stopped !== undefined) printLine(context, `${context.style("red", "Nothing new starts:")} ${stopped}`);
}

function parkLines(config: Config, now: Instant): string[] {
  const { parks, problem } = parksOf(config);
  const providers = providersOf(config, parks);
  const accounts = [...new Set(providers.accounts.values())].filter((account) => placesOf(providers, account, now) !== undefined);
  return [...accounts.map((account) => parkText(providers, account, now)), ...(problem === undefined ? [] : [problem])];
}

function planLines(context: Context, row: PlanRow, now: Instant, detailed: boolean, notes: BudgetNotes): string[] {
  const title = row.name && row.name !== row.id ? `${oneLine(row.name)} (${row.id})` : row.id;
  const workflow = row.workflow === undefined ? "" : `  ${row.workflow}`;
  const held = row.hold ? `  by ${oneLine(row.hold.by)}${row.hold.reason ? `: ${oneLine(row.hold.reason)}` : ""}` : "";
  const head = `${context.style("bold", title)}  ${statusText(context, row.status)}${held}${workflow}`;
  const counts = row.status === "unreadable" ? "" : `  ${countsText(row)}`;
  const tickets = columns(
    row.tickets.map((ticket) => [
      ticket.ticketId,
      statusText(context, ticket.status),
      [phaseText(ticket), oneLine(ticket.title, 80)].filter((text) => text !== "").join("  "),
    ]),
    "  ",
  );
  const lines = row.tickets.flatMap((ticket, i) => [
    tickets[i] ?? "",
    ...details(context, ticket, now, notes).map((line) => `      ${line}`),
  ]);
  const made =
    detailed && row.plan
      ? [`  made ${row.plan.createdAt} by ${oneLine(row.plan.createdBy) || "nobody named"}, in ${row.plan.repo ?? "several repositories"}`]
      : [];
  const draft = row.status === "draft" ? [`  waits for approval: orchestrator plan approve ${row.id}`] : [];
  return [
    `${head}${counts}`,
    ...draft,
    ...made,
    ...row.problems.map((problem) => `  ${context.style("red", "broken:")} ${oneLine(problem)}`),
    ...lines,
  ];
}

function countsText({ counts, total }: PlanRow): string {
  const others: ShownStatus[] = ["running", "waiting", "awaiting_approval", "paused", "failed", "needs_attention", "unreadable"];
  const more = others.filter((status) => counts[status] > 0).map((status) => `${counts[status]} ${status.replaceAll("_", " ")}`);
  return [`${counts.complete}/${total} complete`, ...more].join(", ");
}

function phaseText({ phase }: TicketRow): string {
  if (!phase) return "";
  return phase.index === undefined ? phase.id : `${phase.id} (${phase.index}/${phase.of})`;
}

function details(context: Context, row: TicketRow, now: Instant, notes: BudgetNotes): string[] {
  const ended = row.status === "complete" || row.status === "skipped" || row.status === "cancelled";
  const lines: string[] = [];
  if (row.problem !== undefined) lines.push(`${context.style("red", "broken:")} ${oneLine(row.problem)}`);
  if (row.refusedEdit !== undefined) lines.push(`${context.style("yellow", "edit refused:")} ${oneLine(row.refusedEdit, 300)}`);
  if (row.hold && !ended) lines.push(`held by ${oneLine(row.hold.by)}${row.hold.reason ? `: ${oneLine(row.hold.reason)}` : ""}`);
  if (row.error !== undefined && row.status !== "complete") lines.push(`${context.style("red", "error:")} ${oneLine(row.error)}`);
  const stuck = row.ticket?.stuck;
  if (stuck && !ended && row.ticket?.activity.state !== "finished") {
    lines.push(`${context.style("yellow", "stuck:")} ${oneLine(stuckText(stuck), 300)}`);
  }
  if (row.status === "running" && row.since !== undefined) lines.push(`run ${row.runId} for ${duration(secondsBetween(row.since, now))}`);
  if (row.status === "awaiting_approval") lines.push(`waits for: orchestrator approve ${row.planId} ${row.ticketId}`);
  const wait = notes.get(`${row.planId}/${row.ticketId}`);
  if (wait) lines.push(`${context.style("yellow", "waits for budget:")} ${oneLine(wait.message)}${wait.command ? ` ${wait.command}` : ""}`);
  if (row.nextAt !== undefined && !ended) lines.push(`looks again ${inTime(row.nextAt, now)}`);
  if (row.pullRequest !== undefined) lines.push(`PR: ${oneLine(row.pullRequest)}`);
  if (row.session) lines.push(`session: ${row.session.provider}:${row.session.id} (${row.session.phase})`);
  if (row.costUsd !== undefined) lines.push(`cost: $${row.costUsd.toFixed(2)}`);
  return lines;
}

function inTime(at: Instant, now: Instant): string {
  return epochMs(at) <= epochMs(now) ? "now" : `in ${duration(secondsBetween(now, at))}`;
}

/** Whether anything has a cap, and it is worth finding out what waits for one. */
export function hasCaps(rows: readonly PlanRow[], { budgetUsdPerDay }: Config): boolean {
  const capped = (caps: { budgetUsd: number | null; budgetTokens: number | null } | undefined) =>
    (caps?.budgetUsd ?? null) !== null || (caps?.budgetTokens ?? null) !== null;
  return budgetUsdPerDay !== undefined || rows.some((row) => capped(row.plan) || row.tickets.some(({ ticket }) => capped(ticket)));
}
