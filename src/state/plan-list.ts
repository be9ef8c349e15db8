import { basename } from "node:path";
import { blockerCycles } from "../domain/blocker-cycles.ts";
import { didYouMean } from "../domain/errors.ts";
import { caseTwins, idProblem } from "../domain/ids.ts";
import type { Plan } from "../domain/plan.ts";
import { disk, hasCode, namesIn } from "./atomic-write.ts";
import type { Problem } from "./json.ts";
import { planDir, plansDir, ticketsDir } from "./layout.ts";

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

/**
 * Why a plan is held, by id, for each whose id differs from that of an earlier one (in byte order) in case only: on many
 * file systems their worktrees and runs would be the same folders.
 */
export function planTwins(stateDir: string, ids: Iterable<string>): Map<string, Problem> {
  const usable = [...ids].filter((id) => idProblem(id) === undefined);
  return new Map(
    [...caseTwins(usable)].map(([id, first]) => {
      const message = `the plans ${first} and ${id} differ only in case, so ${id} is held`;
      return [id, { file: planDir(stateDir, id), message, hint: "give one of them another id: some file systems take the two for one" }];
    }),
  );
}

/** As `planTwins`, for the tickets of one plan: those that it lists and those that have a file (ids without .json). */
export function ticketTwins(file: string, plan: Plan, files: Iterable<string>): Map<string, Problem> {
  const twins = caseTwins([...plan.tickets.map(({ ticketId }) => ticketId), ...files]);
  return new Map(
    [...twins].map(([id, first]) => {
      const message = `tickets: ${first} and ${id} differ only in case, so ${id} is held`;
      return [id, { file, message, hint: "rename one: some file systems take them for one file" }];
    }),
  );
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
  problems.push(...ticketTwins(file, plan, present).values());
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
