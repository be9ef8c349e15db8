import type { Context } from "../app.ts";
import { type Finding, formatFinding } from "../domain/errors.ts";
import { type Imported, type ImportOptions, importSource } from "../planner/import-source.ts";
import { syncSources, type Told } from "../planner/sync-sources.ts";
import { benchOf } from "./bench.ts";
import type { CommandModule, Ending } from "./command.ts";
import { endingOf } from "./plan.ts";
import { counted, oneLine, printData, printLine } from "./print.ts";
import { readWorld, takePlan } from "./world.ts";

interface Options extends ImportOptions {
  yes?: boolean;
  json?: boolean;
}

/** Brings a plan in line with a place where work is written down. */
export async function run(context: Context, [source = ""]: string[], { yes, json, ...options }: Options): Promise<Ending> {
  const bench = benchOf(context, await context.config(), { approved: yes ?? false });
  const imported = await importSource(source, options, bench);
  if (json) {
    const { draft: _, ...data } = imported;
    printData(context, data);
  } else printImported(context, imported);
  const { result, findings } = imported;
  if (result === "nothing") return findings.some(({ severity }) => severity === "error") ? "invalid" : "ok";
  return result === "planned" ? "ok" : endingOf(result, findings);
}

function printImported(context: Context, imported: Imported): void {
  const { source, items, draft, added, changed, left, message, planId, status, findings } = imported;
  sayFindings(context, findings);
  printLine(context, `${oneLine(source)}: ${items.open} open, ${items.done} done, ${items.dropped} dropped`);
  const titles = new Map(draft?.tickets.map(({ id, title }) => [id, title]));
  const rows = [
    ...added.map((id) => ["+", id, titles.get(id) ?? ""]),
    ...changed.map((id) => ["~", id, titles.get(id) ?? ""]),
    ...left.map(({ ticketId, reason }) => ["!", ticketId, `left as it is: ${reason}`]),
  ];
  for (const [mark = "", id = "", text = ""] of rows) printLine(context, `  ${mark} ${id}  ${oneLine(text)}`);
  printLine(context, oneLine(message, 2000));
  if (status === "draft") printLine(context, `It waits for: orchestrator plan approve ${planId}`);
}

/** What is said of the draft holds for most of what people write down: it is told once for each rule, not for each ticket. */
function sayFindings(context: Context, findings: readonly Finding[]): void {
  const ofDraft = new Map<string, { finding: Finding; tickets: string[] }>();
  for (const finding of findings) {
    const [whole, ticket] = /^ticket "([^"]*)": /.exec(finding.message) ?? [];
    if (finding.severity === "error" || whole === undefined || ticket === undefined) {
      context.say(`${finding.severity}: ${oneLine(formatFinding(finding), 1000)}`);
      continue;
    }
    const known = ofDraft.get(finding.rule) ?? { finding: { ...finding, message: finding.message.slice(whole.length) }, tickets: [] };
    known.tickets.push(ticket);
    ofDraft.set(finding.rule, known);
  }
  for (const { finding, tickets } of ofDraft.values()) {
    const names = tickets.length > 5 ? `${tickets.slice(0, 4).join(", ")} and ${tickets.length - 4} more` : tickets.join(", ");
    const fix = finding.fix === undefined ? "" : ` — fix: ${finding.fix}`;
    context.say(`${finding.severity}: ${oneLine(`${names}: ${finding.message}${fix} [${finding.rule}]`, 1000)}`);
  }
}

/** Tells the places that a plan's tickets came from what has become of them. */
export const sync: CommandModule = {
  async run(context: Context, [plan = ""]: string[], options: { close?: boolean; dryRun?: boolean; json?: boolean }): Promise<Ending> {
    const config = await context.config();
    const { world, index } = readWorld(config);
    const view = world.plans.get(takePlan(world, plan));
    index.close();
    const bench = benchOf(context, config, { approved: true });
    const told =
      view === undefined ? [] : await syncSources(view, { closeDone: options.close ?? false, dryRun: options.dryRun ?? false }, bench);
    if (options.json) printData(context, { plan, places: told });
    else printTold(context, told);
    return told.some(({ result }) => result === "failed") ? "failed" : "ok";
  },
};

function printTold(context: Context, told: readonly Told[]): void {
  const words = { told: "was told", planned: "would be told", silent: "cannot be told", failed: "was not told" };
  for (const { place, result, tickets, error, hint } of told) {
    printLine(context, `${oneLine(place)} ${words[result]} of ${counted(tickets.length, "ticket")}:`);
    for (const { ticketId, status } of tickets) printLine(context, `  ${ticketId}  ${status}`);
    if (error !== undefined) context.say(`error: ${oneLine(error, 1000)}${hint === undefined ? "" : `\nhint:  ${oneLine(hint, 1000)}`}`);
  }
  if (told.length === 0) printLine(context, "There is nothing to tell: no ticket of the plan that came from elsewhere has begun.");
}
