import { rm } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../domain/errors.ts";
import { caseFold } from "../domain/ids.ts";
import type { Plan } from "../domain/plan.ts";
import type { TicketFile } from "../domain/ticket.ts";
import { disk, hasCode, makeDir, namesIn, syncDir, writeDurable } from "./atomic-write.ts";
import { archiveDir, planDir, plansDir } from "./layout.ts";

/** Begins the names of plans that are still being written. */
const unfinished = ".new-";
/** No plan takes longer to write: who began this one has died over it. */
const longestWriteMs = 3600 * 1000;
let begun = 0;

/** The ids that no new plan may have, each with the folder that has it: those of plans, and of plans that were put away. */
export function takenPlanIds(stateDir: string): Map<string, string> {
  const taken = new Map<string, string>();
  for (const dir of [archiveDir(stateDir), plansDir(stateDir)]) {
    for (const name of namesIn(dir)) if (!name.startsWith(".")) taken.set(name, join(dir, name));
  }
  return taken;
}

/**
 * Writes a new plan with all its tickets, durably, in one step: readers see none of it or the whole. Gives its folder.
 * Throws a UserError (conflict) where there is or was a plan of that id, and system errors; nothing is left of it then.
 */
export async function createPlan(stateDir: string, plan: Plan, tickets: readonly TicketFile[]): Promise<string> {
  const root = plansDir(stateDir);
  await makeDir(root);
  await sweepUnfinished(root);
  refuseTaken(stateDir, plan.id);
  begun += 1;
  const dir = join(root, `${unfinished}${plan.id}.${process.pid}-${begun}-${Math.random().toString(36).slice(2, 10)}`);
  const target = planDir(stateDir, plan.id);
  try {
    await makeDir(join(dir, "tickets"));
    for (const ticket of tickets) await writeDurable(join(dir, "tickets", `${ticket.ticketId}.json`), textOf(ticket));
    await writeDurable(join(dir, "plan.json"), textOf(plan));
    refuseTaken(stateDir, plan.id);
    await disk.rename(dir, target);
    await syncDir(root);
    return target;
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    if (hasCode(error, "ENOTEMPTY") || hasCode(error, "EEXIST")) throw taken(plan.id, target);
    throw error;
  }
}

function textOf(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function refuseTaken(stateDir: string, planId: string): void {
  for (const [id, dir] of takenPlanIds(stateDir)) if (caseFold(id) === caseFold(planId)) throw taken(id, dir);
}

function taken(planId: string, dir: string): UserError {
  return new UserError(`There is a plan "${planId}" already: ${dir}`, { hint: "give the new one another id", exit: "conflict" });
}

async function sweepUnfinished(root: string): Promise<void> {
  for (const name of namesIn(root)) {
    const path = join(root, name);
    const stat = name.startsWith(unfinished) ? disk.lstatSync(path, { throwIfNoEntry: false }) : undefined;
    if (stat && Date.now() - stat.mtimeMs > longestWriteMs) await rm(path, { recursive: true, force: true });
  }
}
