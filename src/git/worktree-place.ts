import { lstat, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, join, resolve, sep } from "node:path";
import { UserError } from "../domain/errors.ts";
import { worktreeRootProblem } from "../lib/worktree-root.ts";
import { leadsToCommonDir, type Repo, shellWord } from "./git.ts";
import { canonicalPath, listWorktrees, type WorktreeEntry } from "./worktree-list.ts";

/** Throws UserError for a folder right below which no worktrees may be kept; `instead` is one where they may. */
export function checkWorktreeRoot(root: string, instead: string): void {
  const why = worktreeRootProblem(root, homedir());
  if (why === undefined) return;
  throw new UserError(`Worktrees cannot be kept right in ${root}: ${why}.`, {
    hint: `set worktreeRoot to a folder of its own, such as ${instead}`,
    exit: "unsafe",
  });
}

/** The canonical form of a worktree's path. Throws UserError for places where one must never stand, or be removed. */
export async function checkWorktreePath(repo: Repo, given: string): Promise<string> {
  const path = await checkPlace(repo, given);
  checkNeighbours(repo, path, await listWorktrees(repo));
  return path;
}

function refusal(repo: Repo, given: string, why: string): UserError {
  return new UserError(`${given} cannot be a worktree: ${why}.`, {
    hint: `set worktreeRoot to a folder of its own outside the repository, such as ${join(dirname(repo.path), `${basename(repo.path)}-worktrees`)}`,
    exit: "unsafe",
  });
}

/** checkWorktreePath() without a look at the other worktrees. */
export async function checkPlace(repo: Repo, given: string): Promise<string> {
  const refuse = (why: string) => refusal(repo, given, why);
  if (!isAbsolute(given)) throw refuse("the path is not absolute");
  if ((await lstat(given).catch(() => undefined))?.isSymbolicLink()) throw refuse("it is a symbolic link");
  const path = await canonicalPath(given);
  if (path === dirname(path)) throw refuse("it is the root of the file system");
  if (contains(path, await canonicalPath(homedir()))) throw refuse("it is the home folder or contains it");
  if (contains(path, repo.path) || contains(path, repo.commonDir)) throw refuse("it is the repository or contains it");
  if (contains(repo.commonDir, path)) throw refuse("it lies inside the repository's git folder");
  if (repo.workTree !== null && contains(repo.workTree, path)) throw refuse("it lies inside the repository");
  return path;
}

/** Throws UserError when a worktree at this canonical path would lie in another one, or around it. */
export function checkNeighbours(repo: Repo, path: string, entries: readonly WorktreeEntry[]): void {
  for (const other of entries) {
    if (other.path === path || other.path === repo.commonDir) continue;
    if (contains(other.path, path)) throw refusal(repo, path, `it lies inside the worktree ${other.path}`);
    if (contains(path, other.path)) throw refusal(repo, path, `it contains the worktree ${other.path}`);
  }
}

/** Whether a folder says itself that it is, or was, a worktree of this repository. */
export async function isOurs(repo: Repo, path: string): Promise<boolean> {
  const link = await readFile(join(path, ".git"), "utf8").catch(() => undefined);
  if (link === undefined) return (await listWorktrees(repo)).some((each) => each.path === path);
  return contains(join(repo.commonDir, "worktrees"), resolve(path, link.replace(/^gitdir: /, "").trim()));
}

/** The refusal of a folder that somebody else has put there. */
export function notAWorktree(repo: Repo, path: string): UserError {
  return new UserError(`${path} exists and is not a worktree of ${repo.path}.`, {
    hint: "move it away, or choose another worktreeRoot",
    exit: "unsafe",
  });
}

/** git itself locks with "initializing" while it adds a worktree; left behind, it means that git was killed. */
export function checkUnlocked(entry: WorktreeEntry): void {
  if (entry.locked === null || entry.locked === "initializing") return;
  throw new UserError(`The worktree ${entry.path} is locked${entry.locked === "" ? "" : `: ${entry.locked}`}.`, {
    hint: `unlock it first: git worktree unlock ${shellWord(entry.path)}`,
    exit: "conflict",
  });
}

/** The file that leads from the git folder of a worktree to its repository. */
export async function repairCommonDir(repo: Repo, gitDir: string): Promise<void> {
  if (!isAbsolute(gitDir)) throw new Error(`a worktree of ${repo.path} has no git folder`);
  if (await leadsToCommonDir({ gitDir, commonDir: repo.commonDir })) return;
  await writeFile(join(gitDir, "commondir"), "../..\n");
}

/** Which branch a worktree was made for: its HEAD is not proof, an agent may check out what it likes. */
export async function readMark(gitDir: string): Promise<string | undefined> {
  return readFile(join(gitDir, markName), "utf8").catch(() => undefined);
}

/** Notes in the git folder of a worktree which branch it is made for. */
export async function writeMark(gitDir: string, branch: string): Promise<void> {
  await writeFile(join(gitDir, markName), branch);
}

/** Whether the files of a worktree were once written to the end. */
export function isMarkedFilled(gitDir: string): Promise<boolean> {
  return exists(join(gitDir, filledName));
}

/** Notes that the files of a worktree are written to the end: from now on an index that is missing was deleted. */
export async function markFilled(gitDir: string): Promise<void> {
  await writeFile(join(gitDir, filledName), "");
}

const markName = "orchestrator-branch";
const filledName = "orchestrator-filled";

/** No branch can have this name. */
export const integrationMark = ": integration";

/** The mark of a worktree that no ticket has: see worktree-pool.ts. No branch can have this name either. */
export const parkedMark = ": parked";

/** Whether something stands at `path`. */
export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** Whether a folder holds anything but the file that makes it a worktree. */
export async function holdsFiles(path: string): Promise<boolean> {
  const names = await readdir(path).catch(() => []);
  return names.some((name) => name !== ".git");
}

function contains(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}
