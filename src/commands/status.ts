import configSchema from "../../docs/schema/config.schema.json" with { type: "json" };
import planSchema from "../../docs/schema/plan.schema.json" with { type: "json" };
import ticketSchema from "../../docs/schema/ticket.schema.json" with { type: "json" };
import type { Context } from "../app.ts";
import { glanceAtConfig } from "../inputs/config-file.ts";
import { checkOf } from "../lib/json-schema.ts";
import { glanceAtPlans } from "../state/glance.ts";
import { planRows } from "../views/rows.ts";
import type { Ending } from "./command.ts";
import { readPhases } from "./phase-reader.ts";
import { snapshotOf } from "./snapshot.ts";
import { hasCaps, printStatus } from "./status-text.ts";

export interface StatusOptions {
  plan?: string;
  json?: boolean;
  watch?: boolean;
}

/**
 * Shows plans and tickets. People get theirs at a glance, without the schema library, as long as nothing is wrong with
 * any file; the full reader does the rest and shows the same where both can.
 */
export async function run(context: Context, _args: string[], options: StatusOptions): Promise<Ending> {
  if (!options.json && !options.watch && (await showAtGlance(context, options.plan))) return "ok";
  const { showInFull } = await import("./status-in-full.ts");
  return showInFull(context, options);
}

/** False, with nothing shown, when there is something that only the full reader can tell. */
async function showAtGlance(context: Context, plan: string | undefined): Promise<boolean> {
  const { env, cwd, configFile } = context;
  const config = glanceAtConfig({ explicit: configFile, env, cwd }, checkOf(configSchema, { refuseUnknownKeys: true }));
  const plans = config && glanceAtPlans(config.stateDir, { plan: checkOf(planSchema), ticket: checkOf(ticketSchema) });
  if (!plans || (plan !== undefined && !plans.has(plan))) return false;
  const { world, problems } = snapshotOf(plans, config, readPhases);
  const rows = planRows(world, problems).filter(({ id }) => plan === undefined || id === plan);
  const notes = hasCaps(rows, config) ? (await import("./budget-notes.ts")).budgetNotes(config) : new Map();
  printStatus(context, rows, config, plan !== undefined, notes);
  return true;
}
