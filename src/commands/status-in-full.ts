import * as z from "zod";
import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { type PlanRow, planRow, planRows } from "../views/rows.ts";
import { type BudgetNotes, budgetNotes } from "./budget-notes.ts";
import type { Ending } from "./command.ts";
import { readPhases } from "./phase-reader.ts";
import { printJson } from "./print.ts";
import { type Snapshot, snapshotOf } from "./snapshot.ts";
import type { StatusOptions } from "./status.ts";
import { hasCaps, printStatus } from "./status-text.ts";
import { readWorld, takePlan } from "./world.ts";

// A parser compiled for a handful of files costs more than it saves.
z.config({ jitless: true });

/** Shows plans and tickets from everything there is to know, once or again with every change. */
export async function showInFull(context: Context, options: StatusOptions): Promise<Ending> {
  const config = await context.config();
  const snapshot = readWorld(config, readPhases);
  const { index } = snapshot;
  try {
    show(context, config, snapshot, options);
    if (options.watch) {
      const { followChanges } = await import("./follow.ts");
      await followChanges(config, index, () => {
        if (context.stdout.isTTY) context.stdout.write("\u001b[2J\u001b[3J\u001b[H");
        show(context, config, snapshotOf(index.plans, config, readPhases), options);
      });
    }
    return "ok";
  } finally {
    index.close();
  }
}

function show(context: Context, config: Config, { world, problems }: Snapshot, options: StatusOptions): void {
  const rows = options.plan === undefined ? planRows(world, problems) : [rowOf({ world, problems }, options.plan)];
  const [only] = rows;
  const notes: BudgetNotes = hasCaps(rows, config) ? budgetNotes(config) : new Map();
  if (options.json)
    printJson(context, options.plan === undefined ? rows.map((row) => planJson(row, notes)) : only && planJson(only, notes));
  else printStatus(context, rows, config, options.plan !== undefined, notes);
}

function rowOf({ world, problems }: Snapshot, id: string): PlanRow {
  const planId = takePlan(world, id);
  const view = world.plans.get(planId);
  if (view) return planRow(view, problems.get(planId) ?? []);
  const broken = { plans: new Map(), brokenPlans: new Map([[planId, world.brokenPlans.get(planId) ?? ""]]) };
  return planRows(broken, problems)[0] as PlanRow;
}

/** The shape of the first seed, `{plan, tickets}`, and what it could not say. */
function planJson(row: PlanRow, notes: BudgetNotes): object {
  return {
    id: row.id,
    plan: row.plan ?? null,
    tickets: row.tickets.map(({ ticketId, ticket, problem }) => ({
      ...(ticket ?? { ticketId, status: "unreadable" }),
      ...(problem === undefined ? {} : { problem }),
      ...(notes.has(`${row.id}/${ticketId}`) ? { waitsForBudget: notes.get(`${row.id}/${ticketId}`)?.message } : {}),
    })),
    problems: row.problems,
  };
}
