import configSchema from "../../docs/schema/config.schema.json" with { type: "json" };
import planSchema from "../../docs/schema/plan.schema.json" with { type: "json" };
import ticketSchema from "../../docs/schema/ticket.schema.json" with { type: "json" };
import type { Context } from "../app.ts";
import { UserError } from "../domain/errors.ts";
import { glanceAtConfig } from "../inputs/config-file.ts";
import { checkOf } from "../lib/json-schema.ts";
import { glanceAtPlans } from "../state/glance.ts";
import { planRows } from "../views/rows.ts";
import { readPhases } from "./phase-reader.ts";
import { snapshotOf } from "./snapshot.ts";
import { hasCaps, printStatus } from "./status-text.ts";

/**
 * Shows plans and tickets without the schema library. False, with nothing shown, when there is something that only the
 * full reader can tell. This is a file of its own in the package, so what it may not need is handed to it.
 */
export async function showAtGlance(...asked: Parameters<typeof show>): Promise<boolean> {
  try {
    return await show(...asked);
  } catch (error) {
    // Thrown out of here it would pass for a bug: the program knows its own copy of the class alone.
    if (error instanceof UserError) return false;
    throw error;
  }
}

async function show(
  context: Context,
  plan: string | undefined,
  loadNotes: () => Promise<typeof import("./budget-notes.ts")>,
): Promise<boolean> {
  const { env, cwd, configFile } = context;
  const config = glanceAtConfig({ explicit: configFile, env, cwd }, checkOf(configSchema, { refuseUnknownKeys: true }));
  const plans = config && glanceAtPlans(config.stateDir, { plan: checkOf(planSchema), ticket: checkOf(ticketSchema) });
  if (!plans || (plan !== undefined && !plans.has(plan))) return false;
  const { world, problems } = snapshotOf(plans, config, readPhases);
  const rows = planRows(world, problems).filter(({ id }) => plan === undefined || id === plan);
  const notes = hasCaps(rows, config) ? (await loadNotes()).budgetNotes(config) : new Map();
  printStatus(context, rows, config, plan !== undefined, notes);
  return true;
}
