import { basename, dirname, join } from "node:path";
import { disk, hasCode, linkUnlessThere, removeIfThere, systemCode } from "./atomic-write.ts";
import type { Change } from "./index.ts";
import { graceMs, halfWritten, type IndexState, inTurn, keepInTrash, type LateSave, trashMs } from "./index-state.ts";
import { readTextFile, Unreadable } from "./json.ts";
import { planFile, trashDir } from "./layout.ts";
import type { TrackedPlan, TrackedTicket } from "./load.ts";
import { lookAtPlan, planGone } from "./look-at-plans.ts";
import { foldLatePlan, planDigestOfTrash } from "./plans.ts";
import { ticketOfTrash } from "./projection.ts";
import { foldText } from "./ticket-steps.ts";
import { digestOf, quarantine } from "./tickets.ts";

/**
 * Looks at the files that were replaced a while ago, folds what a program that had one open has saved into it, and
 * removes them. What a failing disk refuses is tried again later. Throws Fenced.
 */
export async function foldLateSaves(state: IndexState): Promise<Change[]> {
  for (const planId of state.straysIn) keepStrays(state, planId);
  const now = state.now();
  const due = state.lateSaves.filter((save) => save.due <= now);
  const changes: Change[] = [];
  for (const save of due) {
    const plan = state.plans.get(save.planId);
    state.lateSaves.splice(state.lateSaves.indexOf(save), 1);
    if (plan) changes.push(...(await foldLateSave(state, plan, save)));
  }
  return changes;
}

/** Remembers what lies in a plan's trash without being known, the latest first: where the public file is gone, it is put back. */
function keepStrays(state: IndexState, planId: string): void {
  const dir = trashDir(state.stateDir, planId);
  try {
    if (disk.lstatSync(dir, { throwIfNoEntry: false })?.isDirectory()) {
      const known = new Set(state.lateSaves.map(({ path }) => path));
      const paths = disk.readdirSync(dir).map((name) => join(dir, name));
      for (const path of latestFirst(paths)) if (!known.has(path)) keepInTrash(state, planId, path, 0);
    }
    state.straysIn.delete(planId);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
  }
}

/** Names end in the process, its count and the time. */
function latestFirst(paths: string[]): string[] {
  const taken = (path: string) => (/-(\d+)-(\d+)\.json$/.exec(path) ?? []).slice(1).map(Number);
  return paths.sort((a, b) => {
    const [[countA = 0, timeA = 0], [countB = 0, timeB = 0]] = [taken(a), taken(b)];
    return timeB - timeA || countB - countA;
  });
}

async function foldLateSave(state: IndexState, plan: TrackedPlan, { path }: LateSave): Promise<Change[]> {
  const { ticketId, digest } = ticketOfTrash(basename(path)) ?? {};
  const entry = ticketId === undefined ? undefined : plan.tickets.get(ticketId);
  try {
    const { changes, seen } = entry
      ? await inTurn(entry, () => foldTicketSave(state, entry, path, digest))
      : await inTurn(plan, () => foldPlanSave(state, plan, path));
    const stat = disk.lstatSync(path, { throwIfNoEntry: false });
    // Renaming it here set its change time.
    if (stat && state.now() - stat.ctimeMs < trashMs && state.now() >= stat.ctimeMs) {
      keepInTrash(state, plan.id, await nameAfter(path, seen), stat.ctimeMs + trashMs);
    } else {
      await removeIfThere(path);
    }
    return changes;
  } catch (error) {
    const unreadable = error instanceof Unreadable;
    if (!unreadable && systemCode(error) === undefined) throw error;
    if (hasCode(error, "ENOENT")) {
      planGone(state, plan.id, error);
      return [];
    }
    try {
      if (unreadable && !halfWritten(state, path)) return [await setAside(state, plan.id, ticketId, path, error)];
    } catch (failed) {
      if (systemCode(failed) === undefined) throw failed;
    }
    keepInTrash(state, plan.id, path, state.now() + graceMs);
    return [];
  }
}

/** What a look at the trash told, and the digest of what it saw there; undefined when it saw nothing that it could use. */
interface Looked {
  changes: Change[];
  seen?: string;
}

/** Notes in a file's name what was folded of it: a later look would fold it again once the ticket has forgotten, and undo what came since. */
async function nameAfter(path: string, seen: string | undefined): Promise<string> {
  const name = basename(path);
  const [kind, id, digest] = name.split("~");
  const old = kind === "plan" ? id : digest;
  if (seen === undefined || old === undefined || seen === old) return path;
  const renamed = join(
    dirname(path),
    name.replace(`~${old}~`, () => `~${seen}~`),
  );
  await disk.rename(path, renamed);
  return renamed;
}

async function setAside(
  { stateDir }: IndexState,
  planId: string,
  ticketId: string | undefined,
  path: string,
  error: Unreadable,
): Promise<Change> {
  const kept = await quarantine({ stateDir, planId }, path, basename(path), error.message);
  const notes = [`a late save could not be read (${error.problem.message}); it is kept as ${kept}`];
  // The ticket is as good as before: only somebody's save is in question.
  return { planId, ...(ticketId === undefined ? {} : { ticketId }), kind: "unreadable", notes };
}

/** A step on the ticket. */
async function foldTicketSave(state: IndexState, entry: TrackedTicket, path: string, taken: string | undefined): Promise<Looked> {
  const read = readTextFile(path);
  if (!read) return { changes: [] };
  if (!entry.truth) {
    // A crash between taking and putting back, and nothing else left of the ticket.
    await linkUnlessThere(path, entry.file);
    return { changes: [] };
  }
  const digest = digestOf(read.text);
  if (digest === taken || entry.truth.known.includes(digest)) return { changes: [], seen: digest };
  const change = await foldText(state, entry, read.text, path);
  return { changes: change ? [change] : [], seen: digest };
}

/** A step on the plan's file. */
async function foldPlanSave(state: IndexState, plan: TrackedPlan, path: string): Promise<Looked> {
  const expected = planDigestOfTrash(path);
  const read = expected === undefined ? undefined : readTextFile(path);
  if (!read) return { changes: [] };
  const file = planFile(state.stateDir, plan.id);
  if (disk.lstatSync(file, { throwIfNoEntry: false }) === undefined) {
    await linkUnlessThere(path, file);
    return { changes: lookAtPlan(state, plan) };
  }
  const seen = digestOf(read.text);
  if (seen === expected) return { changes: [], seen };
  const folded = await foldLatePlan(state.stateDir, plan.id, read.text);
  keepInTrash(state, plan.id, folded?.trash, state.now() + trashMs);
  return { changes: lookAtPlan(state, plan), seen };
}
