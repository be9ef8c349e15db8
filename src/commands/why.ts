import type { Context } from "../app.ts";
import { createCosts } from "../daemon/costs.ts";
import { runningDaemon } from "../daemon/holder.ts";
import { createLiveWorld } from "../daemon/live-world.ts";
import { instant } from "../domain/time.ts";
import { explain } from "../engine/explain.ts";
import { limitsOf } from "../engine/world.ts";
import { spaceProblem } from "../lib/disk-space.ts";
import { openIndex } from "../state/index.ts";
import { ticketRow } from "../views/rows.ts";
import type { Ending } from "./command.ts";
import { parksOf } from "./parks.ts";
import { oneLine, printData, printLine, statusText } from "./print.ts";
import { takeTicket } from "./world.ts";

/** Says why a ticket is where it is, nearest cause first, each with the command that changes it. */
export async function run(context: Context, args: string[], options: { json?: boolean }): Promise<Ending> {
  const config = await context.config();
  const index = openIndex(config.stateDir, { writer: false });
  index.close();
  // As the daemon sees it, so that both come to the same reasons.
  const world = createLiveWorld(index, () => config, false);
  const { planId, ticketId } = takeTicket(world, args);
  const facts = { now: instant(Date.now()), daemonRuns: runningDaemon(config.home) !== undefined };
  const costs = createCosts({ config: () => config, world, now: () => facts.now, log: { warn: () => {} } });
  const stopped = spaceProblem([config.stateDir, config.worktreeRoot], config.minFreeMiB);
  const limits = limitsOf(config, stopped, parksOf(config).parks, costs.spending());
  const reasons = explain(world, planId, ticketId, limits, facts);
  const view = world.plans.get(planId);
  const row = view && ticketRow(view, ticketId);
  if (options.json) {
    printData(context, { planId, ticketId, status: row?.status ?? "unreadable", phase: row?.phase?.id ?? null, reasons });
    return "ok";
  }
  const title = row?.title ? `  ${oneLine(row.title, 80)}` : "";
  const phase = row?.phase ? ` in phase ${row.phase.id}` : "";
  printLine(context, `${context.style("bold", `${planId}/${ticketId}`)}${title}`);
  printLine(context, `${statusText(context, row?.status ?? "unreadable")}${phase}`);
  for (const { message, command } of reasons) {
    printLine(context);
    printLine(context, oneLine(message, 2000));
    if (command !== undefined) printLine(context, `  ${context.style("cyan", command)}`);
  }
  return "ok";
}
