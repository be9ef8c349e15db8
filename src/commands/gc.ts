import type { Context } from "../app.ts";
import { worktreeRoots } from "../daemon/housekeeping.ts";
import { UserError } from "../domain/errors.ts";
import { instant } from "../domain/time.ts";
import { deleteTrash, trashIn } from "../git/trash.ts";
import type { Ending } from "./command.ts";
import { findItems, type GcItem, type GcOptions } from "./gc-items.ts";
import { columns, counted, duration, oneLine, printData, printLine } from "./print.ts";
import { readWorld, takePlan } from "./world.ts";

interface Options {
  dryRun?: boolean;
  olderThan?: string;
  plan?: string;
  saved?: boolean;
  savedOlderThan?: string;
  json?: boolean;
}

/** An item, and what was done about it. */
interface Outcome {
  item: GcItem;
  result: "removed" | "kept" | "failed" | "would be removed";
  note?: string;
}

/** Removes what tickets and plans that have ended left behind, as far as it is merged or saved; or says what it would remove. */
export async function run(context: Context, _args: string[], options: Options): Promise<Ending> {
  const config = await context.config();
  const { world, index } = readWorld(config);
  index.close();
  const asked: GcOptions = {
    now: instant(Date.now()),
    saved: options.saved ?? false,
    ...(options.plan === undefined ? {} : { planId: takePlan(world, options.plan) }),
    ...(options.olderThan === undefined ? {} : { olderThan: secondsOf(options.olderThan, "--older-than") }),
    ...(options.savedOlderThan === undefined ? {} : { savedOlderThan: secondsOf(options.savedOlderThan, "--saved-older-than") }),
  };
  const items = await findItems(config, world, asked);
  const outcomes: Outcome[] = [];
  for (const item of items) {
    const outcome = options.dryRun && item.remove ? ({ item, result: "would be removed" } as const) : await follow(item);
    outcomes.push(outcome);
  }
  if (outcomes.some(({ result }) => result === "removed")) await emptyTrash(context, await worktreeRoots(world, config));
  if (options.json) printData(context, { dryRun: options.dryRun ?? false, items: outcomes.map(plain), bytes: bytesOf(outcomes) });
  else printOutcomes(context, outcomes);
  return outcomes.some(({ result }) => result === "failed") ? "failed" : "ok";
}

async function follow(item: GcItem): Promise<Outcome> {
  if (!item.remove) return { item, result: "kept" };
  try {
    const note = await item.remove();
    return { item, result: "removed", ...(note === undefined ? {} : { note }) };
  } catch (error) {
    // What changed meanwhile stays, and rightly so.
    const stays = error instanceof UserError && (error.exit === "conflict" || error.exit === "unsafe");
    return { item, result: stays ? "kept" : "failed", note: error instanceof Error ? error.message : String(error) };
  }
}

/** Removed worktrees were renamed; a daemon would delete them, but there may be none. */
async function emptyTrash(context: Context, roots: ReadonlySet<string>): Promise<void> {
  for (const root of roots) {
    for (const trash of await trashIn(root)) {
      await deleteTrash(trash).catch((error: unknown) => context.say(`warning: ${error instanceof Error ? error.message : String(error)}`));
    }
  }
}

function plain({ item: { remove: _, ...item }, result, note }: Outcome): object {
  return { ...item, result, ...(note === undefined ? {} : { note }) };
}

function bytesOf(outcomes: readonly Outcome[]): number {
  return outcomes.reduce(
    (sum, { item, result }) => (result === "removed" || result === "would be removed" ? sum + (item.bytes ?? 0) : sum),
    0,
  );
}

function printOutcomes(context: Context, outcomes: readonly Outcome[]): void {
  const rows = outcomes.map(({ item, result, note }) => [
    result,
    item.kind,
    oneLine(item.what),
    item.bytes === undefined ? "-" : sizeText(item.bytes),
    item.ageSeconds === undefined ? "-" : duration(item.ageSeconds),
    item.merged === undefined ? "-" : item.merged ? "merged" : "not merged",
    oneLine(note === undefined ? item.reason : `${item.reason}; ${note}`),
  ]);
  for (const line of columns(rows)) printLine(context, line);
  const gone = outcomes.filter(({ result }) => result === "removed" || result === "would be removed");
  const failed = outcomes.filter(({ result }) => result === "failed").length;
  const verb = outcomes.some(({ result }) => result === "would be removed") ? "would be removed" : "removed";
  const rest = failed === 0 ? "" : `; ${failed} failed`;
  printLine(context, `${counted(gone.length, "item")} ${verb}, ${sizeText(bytesOf(outcomes))}${rest}.`);
}

/** Bytes as people say them: "12 KiB", "3.4 GiB". */
function sizeText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Seconds of `90s`, `10m`, `2h`, `3d`. */
function secondsOf(text: string, option: string): number {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (count !== undefined && unit !== undefined) return Number(count) * ({ s: 1, m: 60, h: 3600, d: 86_400 }[unit] ?? 1);
  throw new UserError(`${option} does not understand ${JSON.stringify(text)}.`, { hint: "write 90s, 10m, 2h or 3d", exit: "usage" });
}
