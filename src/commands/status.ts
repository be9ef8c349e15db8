import type { Context } from "../app.ts";
import type { Ending } from "./command.ts";

export interface StatusOptions {
  plan?: string;
  json?: boolean;
  watch?: boolean;
}

/**
 * Shows plans and tickets. People get theirs at a glance, as long as nothing is wrong with any file; the full reader does
 * the rest and shows the same where both can.
 */
export async function run(context: Context, _args: string[], options: StatusOptions): Promise<Ending> {
  if (!options.json && !options.watch) {
    const { showAtGlance } = await import("./status-glance.ts");
    if (await showAtGlance(context, options.plan, () => import("./budget-notes.ts"))) return "ok";
  }
  const { showInFull } = await import("./status-in-full.ts");
  return showInFull(context, options);
}
