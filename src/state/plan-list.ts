import { basename } from "node:path";
import { blockerCycles } from "../domain/blocker-cycles.ts";
import { didYouMean } from "../domain/errors.ts";
import { caseFold, idProblem } from "../domain/ids.ts";
import type { Plan } from "../domain/plan.ts";
import { disk, hasCode, namesIn } from "./atomic-write.ts";
import type { Problem } from "./json.ts";
import { plansDir, ticketsDir } from "./layout.ts";

/** Names in plans/ that stand for a plan, good or bad. A name with a leading dot is a plan still being written. */
export function listPlans(stateDir: string): string[] {
  try {
    return disk
      .readdirSync(plansDir(stateDir), { withFileTypes: true })
      .filter((entry) => !entry.name.startsWith(".") && (entry.isDirectory() || entry.isSymbolicLink()))
      .map((entry) => entry.name)
      .sort();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

/** Ids that ticket files of a plan are named after, and the names among them that can be no id. */
export function ticketNames(stateDir: string, planId: string): { ids: string[]; bad: string[] } {
  const ids: string[] = [];
  const bad: string[] = [];
  for (const name of namesIn(ticketsDir(stateDir, planId))) {
    if (!name.endsWith(".json") || name.startsWith(".")) continue;
    const id = basename(name, ".json");
    (idProblem(id) === undefined ? ids : bad).push(id);
  }
  return { ids, bad };
}

/** What is wrong with a plan's ticket list, by itself and beside the ticket files (ids without .json). */
export function listProblems(file: string, plan: Plan, files: Iterable<string>): Problem[] {
  const problems: Problem[] = [];
  const listed = new Set<string>();
  for (const { ticketId } of plan.tickets) {
    if (listed.has(ticketId)) problems.push({ file, message: `tickets: ${ticketId} is listed twice`, hint: "remove one of the two" });
    listed.add(ticketId);
  }
  const present = new Set(files);
  const spellings = new Map<string, string>();
  for (const id of new Set([...listed, ...present])) {
    const twin = spellings.get(caseFold(id));
    if (twin !== undefined) {
      problems.push({
        file,
        message: `tickets: ${twin} and ${id} differ only in case`,
        hint: "rename one: some file systems take them for one file",
      });
    }
    spellings.set(caseFold(id), id);
  }
  for (const id of listed) {
    if (!present.has(id))
      problems.push({ file, message: `tickets: ${id} has no file`, hint: `write tickets/${id}.json or take it off the list` });
  }
  for (const id of present) {
    if (!listed.has(id))
      problems.push({ file, message: `tickets/${id}.json is not in the plan's list`, hint: "add it to tickets, or remove the file" });
  }
  const known = new Set([...listed, ...present]);
  for (const { ticketId, blockedBy } of plan.tickets) {
    for (const id of new Set(blockedBy)) {
      if (known.has(id)) continue;
      const near = didYouMean(id, known);
      problems.push({
        file,
        message: `tickets: ${ticketId} is blocked by ${JSON.stringify(id)}, which the plan does not have`,
        hint: near === undefined ? "correct blockedBy" : `did you mean "${near}"?`,
      });
    }
  }
  for (const cycle of blockerCycles(plan.tickets)) {
    problems.push({ file, message: `tickets: blockers form a cycle: ${cycle.join(" → ")}`, hint: "remove one of them from blockedBy" });
  }
  return problems;
}
