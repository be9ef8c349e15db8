import { basename, dirname, join } from "node:path";
import { Plan } from "../domain/plan.ts";
import type { PlanFields } from "../domain/plan-edit.ts";
import { disk, dropTemporary, hasCode, linkUnlessThere, makeDirBelow, removeIfThere, syncDir, writeTemporary } from "./atomic-write.ts";
import { parseJson, readTextFile, statFile, Unreadable, validate } from "./json.ts";
import { placeOf } from "./json-places.ts";
import { planDir, planFile, trashDir } from "./layout.ts";
import { migrate, planMigrations } from "./migrate.ts";
import { digestOf } from "./tickets.ts";

/** Parses and validates the text of a plan.json. Throws Unreadable, also when its id is not the folder's name. */
function parsePlan(text: string, file: string, planId: string): Plan {
  const plan = validate(Plan, migrate(parseJson(text, file), file, planMigrations), file, text);
  if (plan.id !== planId) {
    throw new Unreadable({
      file,
      ...placeOf(text, ["id"]),
      message: `id: is ${plan.id}`,
      hint: `the folder's name says ${planId}; make them equal`,
    });
  }
  return plan;
}

/** Reads plan.json. Undefined when there is none. Throws Unreadable. */
export function readPlan(stateDir: string, planId: string): Plan | undefined {
  const file = planFile(stateDir, planId);
  const read = readTextFile(file);
  return read === undefined ? undefined : parsePlan(read.text, file, planId);
}

/** Fields of plan.json to write: the runner's own ones, and others only when a person asks for it. */
export type PlanChange = Partial<Pick<Plan, "status" | "hold" | "budgetTokens" | "tickets" | keyof PlanFields>>;

let taken = 0;

/**
 * Changes these fields in plan.json and nothing else, whoever edits the file at the same time. Gives the plan and
 * where the replaced file lies, to be looked at once more a little later. A function gets plan.json as it is then. Undefined when there is no plan.json.
 * Throws Unreadable for one that cannot be used, and system errors; the plan may lie in the trash alone then.
 */
export async function updatePlan(
  stateDir: string,
  planId: string,
  change: PlanChange | ((present: Plan) => PlanChange),
): Promise<{ plan: Plan; signature: string; trash: string } | undefined> {
  return replacePlan(stateDir, planId, (present, plan) => ({ ...present, ...(typeof change === "function" ? change(plan) : change) }));
}

/** Folds a save that reached plan.json's old inode after it was replaced: all of it but `status` and `hold` counts. */
export async function foldLatePlan(
  stateDir: string,
  planId: string,
  lateText: string,
): Promise<{ plan: Plan; signature: string; trash: string } | undefined> {
  const file = planFile(stateDir, planId);
  parsePlan(lateText, file, planId);
  const late = parseJson(lateText, file) as Record<string, unknown>;
  return replacePlan(stateDir, planId, ({ status, hold }) => {
    const merged: Record<string, unknown> = { ...late };
    if (status !== undefined) merged.status = status;
    if (hold !== undefined) merged.hold = hold;
    return merged;
  });
}

async function replacePlan(
  stateDir: string,
  planId: string,
  edit: (present: Record<string, unknown>, plan: Plan) => Record<string, unknown>,
): Promise<{ plan: Plan; signature: string; trash: string } | undefined> {
  const file = planFile(stateDir, planId);
  for (let tries = 0; tries < 50; tries++) {
    const before = readTextFile(file);
    if (before === undefined) return undefined;
    await makeDirBelow(planDir(stateDir, planId), trashDir(stateDir, planId));
    const present = parsePlan(before.text, file, planId);
    const text = `${JSON.stringify(edit(parseJson(before.text, file) as Record<string, unknown>, present), undefined, 2)}\n`;
    const plan = parsePlan(text, file, planId);
    const written = await swapPlan(stateDir, planId, file, digestOf(before.text), text);
    if (written) return { plan, ...written };
  }
  throw new Unreadable({ file, message: "changes all the time", hint: "stop the program that keeps writing it" });
}

async function swapPlan(
  stateDir: string,
  planId: string,
  file: string,
  expected: string,
  text: string,
): Promise<{ signature: string; trash: string } | undefined> {
  taken += 1;
  const trash = join(trashDir(stateDir, planId), `plan~${expected}~${process.pid}-${taken}-${Date.now()}.json`);
  const temp = await writeTemporary(dirname(file), text);
  try {
    statFile(file);
    try {
      await disk.rename(file, trash);
    } catch (error) {
      if (hasCode(error, "ENOENT")) return undefined;
      throw error;
    }
    if (isDigest(trash, expected) && (await linkUnlessThere(temp.path, file))) {
      await syncDir(dirname(file));
      return { signature: temp.signature, trash };
    }
    await putBack(trash, file);
    return undefined;
  } catch (error) {
    await linkUnlessThere(trash, file).catch(() => undefined);
    throw error;
  } finally {
    await dropTemporary(temp.path);
  }
}

/** When it cannot go back, somebody has saved again since: theirs was next to replace it anyway. */
async function putBack(trash: string, file: string): Promise<void> {
  await linkUnlessThere(trash, file);
  if (statFile(file)) await removeIfThere(trash);
}

function isDigest(file: string, digest: string): boolean {
  try {
    const read = readTextFile(file);
    return read !== undefined && digestOf(read.text) === digest;
  } catch (error) {
    if (error instanceof Unreadable) return false;
    throw error;
  }
}

/** The digest of the plan.json that lies in the trash under this path, as it was when it was taken. */
export function planDigestOfTrash(path: string): string | undefined {
  return /^plan~([^~]+)~/.exec(basename(path))?.[1];
}
