import { createCosts } from "../daemon/costs.ts";
import { createLiveWorld } from "../daemon/live-world.ts";
import type { Config } from "../domain/config.ts";
import { instant } from "../domain/time.ts";
import { budgetsOf, budgetWait } from "../engine/budget.ts";
import { openIndex } from "../state/index.ts";

/** Why tickets wait for money or tokens, by `plan/ticket`. */
export type BudgetNotes = ReadonlyMap<string, { message: string; command?: string }>;

/** Looks at everything as the daemon does; nothing is written. */
export function budgetNotes(config: Config): BudgetNotes {
  const index = openIndex(config.stateDir, { writer: false });
  index.close();
  const world = createLiveWorld(index, () => config, false);
  const costs = createCosts({ config: () => config, world, now: () => instant(Date.now()), log: { warn: () => {} } });
  const budgets = budgetsOf(world, costs.spending());
  const notes = new Map<string, { message: string; command?: string }>();
  for (const { plan, tickets } of world.plans.values()) {
    for (const ticketId of tickets.keys()) {
      const wait = budgetWait(world, budgets, plan.id, ticketId);
      if (wait) notes.set(`${plan.id}/${ticketId}`, wait);
    }
  }
  return notes;
}
