import { tokensOf } from "../agents/price.ts";
import type { Context } from "../app.ts";
import { idProblem } from "../domain/ids.ts";
import type { LedgerEntry } from "../domain/ledger.ts";
import type { Usage } from "../domain/session.ts";
import { dayOf } from "../engine/budget.ts";
import { ledgerFile } from "../state/layout.ts";
import { readLedger } from "../state/ledger.ts";
import { listPlans } from "../state/plan-list.ts";
import type { Ending } from "./command.ts";
import { columns, counted, oneLine, printData, printLine } from "./print.ts";
import { sinceOf } from "./seconds.ts";
import { unknown } from "./world.ts";

type By = "plan" | "ticket" | "phase" | "agent" | "model" | "day";

interface Options {
  by?: By;
  plan?: string;
  since?: string;
  json?: boolean;
}

/** What the runs of one line of the table came to. */
interface Sum {
  runs: number;
  usage: Usage;
  /** Of the runs whose cost is known; null when it is known of none. */
  costUsd: number | null;
  /** Runs whose tokens are known and whose price is not. */
  unknownPrice: number;
  /** Runs of which not even the tokens are known. */
  unknownUsage: number;
  /** Runs that were cut short and may have used more than is known. */
  partial: number;
}

/** Shows what agents have cost, from the ledgers of the plans. */
export async function run(context: Context, _args: string[], options: Options): Promise<Ending> {
  const { stateDir } = await context.config();
  const since = options.since === undefined ? undefined : sinceOf(options.since, Date.now());
  const by = options.by ?? "plan";
  const plans = listPlans(stateDir).filter((planId) => idProblem(planId) === undefined);
  if (options.plan !== undefined && !plans.includes(options.plan)) {
    throw unknown(`There is no plan "${options.plan}".`, options.plan, plans, "orchestrator status lists the plans");
  }
  const ledgers = plans
    .filter((planId) => options.plan === undefined || planId === options.plan)
    .map((planId) => readLedger(ledgerFile(stateDir, planId)));
  const entries = ledgers.flatMap((ledger) => ledger.entries).filter(({ at }) => since === undefined || at >= since);
  const unreadable = ledgers.reduce((sum, ledger) => sum + ledger.unreadable, 0);
  const rows = [...Map.groupBy(entries, (entry) => keyOf(entry, by))]
    .map(([key, group]) => ({ key, ...sumOf(group) }))
    .toSorted((a, b) => compare(a.key ?? "", b.key ?? ""));
  const total = sumOf(entries);
  if (options.json) {
    printData(context, { by, since: since ?? null, rows, total, unreadable });
    return "ok";
  }
  if (unreadable > 0) context.say(`${counted(unreadable, "line")} of the ledgers cannot be read`);
  if (rows.length === 0) {
    printLine(context, "No run of an agent has ended yet.");
    return "ok";
  }
  const head = [by, "runs", "input", "output", "cache read", "cache write", "cost"];
  const cells = rows.map((row) => cellsOf(oneLine(row.key ?? "(unknown model)"), row));
  const [first = "", ...lines] = columns([head, ...cells, cellsOf("total", total)]);
  printLine(context, context.style("bold", first));
  for (const line of lines) printLine(context, line);
  return "ok";
}

function keyOf(entry: LedgerEntry, by: By): string | null {
  switch (by) {
    case "plan":
      return entry.planId;
    case "ticket":
      return `${entry.planId}/${entry.ticketId}`;
    case "day":
      return dayOf(entry.at);
    default:
      return entry[by];
  }
}

function sumOf(entries: readonly LedgerEntry[]): Sum {
  const usage: Usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  for (const entry of entries) for (const key of Object.keys(usage) as (keyof Usage)[]) usage[key] += entry.usage?.[key] ?? 0;
  const known = entries.flatMap(({ costUsd }) => costUsd ?? []);
  const unknownUsage = entries.filter((entry) => entry.usage === null && entry.costUsd === null).length;
  return {
    runs: entries.length,
    usage,
    costUsd: known.length === 0 && entries.length > 0 ? null : round(known.reduce((sum, each) => sum + each, 0)),
    unknownPrice: entries.length - known.length - unknownUsage,
    unknownUsage,
    partial: entries.filter((entry) => entry.partial && entry.usage !== null && tokensOf(entry.usage) > 0).length,
  };
}

/** Sums of fractions are off by less than a billionth. */
function round(usd: number): number {
  return Math.round(usd * 1e9) / 1e9;
}

function cellsOf(key: string, { runs, usage, costUsd, unknownPrice, unknownUsage, partial }: Sum): string[] {
  const unsure = [
    unknownPrice > 0 ? `unknown price of ${counted(unknownPrice, "run")}` : "",
    unknownUsage > 0 ? `unknown use of ${counted(unknownUsage, "run")}` : "",
    partial > 0 ? `${counted(partial, "run")} cut short, at least` : "",
  ].filter((text) => text !== "");
  const money = costUsd === null ? "-" : `$${costUsd.toFixed(costUsd < 0.1 ? 4 : 2)}`;
  const counts = [runs, usage.inputTokens, usage.outputTokens, usage.cacheReadTokens, usage.cacheWriteTokens].map(String);
  return [key, ...counts, unsure.length > 0 ? `${money}  (${unsure.join("; ")})` : money];
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
