/**
 * Worktrees of tickets that are done with, parked for later tickets of the same plan and repository: to change the few files that differ takes a
 * fraction of the time that writing all of them does. What a parked worktree held is merged or saved, so it is nobody's.
 *
 * Its mark says so until the next ticket has it clean: a worktree at a ticket's path that is still marked as parked was left in
 * the middle of being taken, and whoever comes next cleans it again.
 */
import { lstat, readdir, rename, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { dependencyFolders } from "../lib/dependency-folders.ts";
import { cleanForReuse, deregister, stripGitDir } from "./discard.ts";
import { type GitDir, git, gitFields, gitText, type Repo } from "./git.ts";
import type { Tree } from "./recovery.ts";
import type { WorktreeEntry } from "./worktree-list.ts";
import { exists, markFilled, parkedMark, readMark, repairCommonDir, writeMark } from "./worktree-place.ts";

/** How many worktrees are parked for one plan and repository when so many runs may go on at once. */
export function poolSize(maxConcurrency: number): number {
  return Math.min(4, maxConcurrency);
}

/** The plan that a folder name says a worktree is parked for; undefined when it is no such name. */
export function parkedPlan(name: string): string | undefined {
  return /^\.pool-(.+)-\d+~$/.exec(name)?.[1];
}

/** The worktrees right below `root` that are parked, each with its plan; links are none. */
export async function parkedIn(root: string): Promise<{ path: string; planId: string }[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  return entries.flatMap((entry) => {
    const planId = entry.isDirectory() ? parkedPlan(entry.name) : undefined;
    return planId === undefined ? [] : [{ path: join(root, entry.name), planId }];
  });
}

/**
 * Parks the folder `aside`, which stood at `path` and whose state is merged or saved, and says whether it did: not beyond `limit`
 * worktrees of the plan in this repository, and not what submodules or settings of its own make different from others.
 * Call it with the repository's lock. Killed at any point it leaves what the next call for `path`, or for the plan, clears away.
 */
export async function park(
  repo: Repo,
  entries: readonly WorktreeEntry[],
  worktree: { entry: WorktreeEntry; aside: string; path: string },
  pool: { planId: string; limit: number },
): Promise<boolean> {
  const { entry, aside, path } = worktree;
  const root = dirname(path);
  const parked = entries.filter((each) => dirname(each.path) === root && parkedPlan(basename(each.path)) === pool.planId && !each.prunable);
  if (parked.length >= pool.limit || (await isSpecial({ gitDir: entry.gitDir, commonDir: repo.commonDir }))) return false;
  const gitDir: GitDir = { gitDir: entry.gitDir, commonDir: repo.commonDir };
  await git(gitDir, ["update-ref", "--no-deref", "HEAD", await gitText(gitDir, ["rev-parse", "--verify", "HEAD^{commit}"])]);
  const place = await freePlace(root, pool.planId);
  await rename(aside, place);
  await writeFile(join(entry.gitDir, "gitdir"), `${join(place, ".git")}\n`);
  await stripGitDir(entry.gitDir);
  await writeMark(entry.gitDir, parkedMark);
  return true;
}

/**
 * Takes a worktree that is parked for the plan to `path`, where nothing stands, and returns its git folder; null when there is none.
 * Its files are still those of the ticket before: see makeReady(). Call it with the repository's lock.
 */
export async function takeParked(repo: Repo, entries: readonly WorktreeEntry[], path: string, planId: string): Promise<string | null> {
  for (const entry of entries) {
    if (dirname(entry.path) !== dirname(path) || parkedPlan(basename(entry.path)) !== planId) continue;
    if (entry.locked !== null || entry.ref !== null || (await readMark(entry.gitDir)) !== parkedMark) continue;
    const link = await lstat(join(entry.path, ".git")).catch(() => undefined);
    if (!link && !(await exists(entry.path))) await deregister(repo, entry);
    if (!link?.isFile()) continue;
    await repairCommonDir(repo, entry.gitDir);
    await writeFile(join(entry.gitDir, "gitdir"), `${join(path, ".git")}\n`);
    await rename(entry.path, path);
    return entry.gitDir;
  }
  return null;
}

/**
 * Makes a worktree that takeParked() gave hold exactly the commit of its branch; of all else only installed dependencies stay.
 * False when git does not see it so in the end: then it must not be used.
 */
export async function makeReady(wt: Tree & { branch: string }): Promise<boolean> {
  await cleanForReuse(wt);
  if (!(await isPristine(wt))) return false;
  await markFilled(wt.gitDir);
  await writeMark(wt.gitDir, wt.branch);
  return true;
}

async function isPristine(wt: Tree): Promise<boolean> {
  // An index can be told to look away from a file.
  const flags = await gitFields(wt, ["ls-files", "-z", "-v"]);
  if (flags.some((line) => !line.startsWith("H "))) return false;
  const args = [
    "status",
    "--porcelain=v1",
    "-z",
    "--untracked-files=normal",
    "--ignored=matching",
    "--ignore-submodules=none",
    "--no-renames",
  ];
  const left = await gitFields(wt, ["-c", "core.untrackedCache=false", ...args]);
  return left.every(
    (line) =>
      line.startsWith("!! ") &&
      line
        .slice(3)
        .split("/")
        .some((part) => dependencyFolders.includes(part)),
  );
}

/** Whether a worktree has what another would not: submodules, a part of the files alone, settings of its own. */
async function isSpecial(gitDir: GitDir): Promise<boolean> {
  for (const name of ["modules", "config.worktree", "info/sparse-checkout"]) if (await exists(join(gitDir.gitDir, name))) return true;
  if (!(await exists(join(gitDir.gitDir, "index")))) return true;
  const staged = await gitFields(gitDir, ["ls-files", "-z", "--stage"]);
  return staged.some((line) => line.startsWith("160000 "));
}

async function freePlace(root: string, planId: string): Promise<string> {
  for (let n = 1; ; n++) {
    const place = join(root, `.pool-${planId}-${n}~`);
    if ((await lstat(place).catch(() => undefined)) === undefined) return place;
  }
}
