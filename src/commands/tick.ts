import type { Context } from "../app.ts";
import { openRunner } from "../daemon/open.ts";
import type { Ending } from "./command.ts";
import { openLog } from "./log.ts";
import { printLine } from "./print.ts";
import { onStopSignals } from "./signals.ts";
import { workUntil } from "./work-until.ts";

/** Dispatches once, waits until those runs have settled, and ends. */
export async function run(context: Context): Promise<Ending> {
  const config = await context.config();
  const log = openLog(context, config, { console: true });
  const opened = await openRunner({ config, log, env: context.env, version: context.version });
  const { runner, index } = opened;
  const signals = onStopSignals();
  let stopped = false;
  signals.listen(() => {
    stopped = true;
    void runner.stopRuns();
  });
  try {
    runner.setDispatching(false);
    await runner.recover();
    runner.setDispatching(!stopped);
    await runner.tick();
    runner.setDispatching(false);
    const started = runner.running();
    await workUntil(opened, () => (runner.running().length === 0 ? true : undefined));
    await runner.quiet();
    for (const { planId, ticket } of started) {
      const after = index.plans.get(planId)?.tickets.get(ticket.ticketId)?.ticket;
      printLine(context, `${planId}/${ticket.ticketId}  ${ticket.currentPhase}  ${after?.status ?? "gone"}`);
    }
    if (started.length === 0) printLine(context, "Nothing was ready.");
    return stopped ? signals.ending() : "ok";
  } finally {
    signals.close();
    await opened.close();
  }
}
