/**
 * What takes files, registrations and refs away and saves nothing. Only modules that have made sure that nothing is lost call it:
 * an architecture test lists them.
 */
import { readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { dependencyFolders } from "../lib/dependency-folders.ts";
import { bareView, type GitDir, git } from "./git.ts";
import type { Tree } from "./recovery.ts";
import type { WorktreeEntry } from "./worktree-list.ts";

/** Forgets the registration of a worktree, and nothing else: its folder and its branch stay. */
export async function deregister(repo: GitDir, entry: Pick<WorktreeEntry, "path" | "gitDir">): Promise<void> {
  if (dirname(entry.gitDir) !== join(repo.commonDir, "worktrees"))
    throw new Error(`${entry.path} is no linked worktree of ${repo.commonDir}`);
  // git passes over a registration without this file, so a removal that is cut short leaves nothing half valid.
  await rm(join(entry.gitDir, "gitdir"), { force: true });
  await rm(entry.gitDir, { recursive: true, force: true });
}

/** Deletes a ref that stands at `sha`; throws when it has moved. */
export async function deleteRef(repo: GitDir, ref: string, sha: string): Promise<void> {
  await git(bareView(repo), ["update-ref", "-d", ref, sha]);
}

/** Forgets that an operation was begun: removes the files of that name from a worktree's git folder. */
export async function forgetOperation(wt: GitDir, names: string[]): Promise<void> {
  for (const name of names) await rm(join(wt.gitDir, name), { recursive: true, force: true });
}

/** Removes the folder that a registration was made for and then taken from; it holds nothing but the file that led to it. */
export async function removeEmptied(folder: string): Promise<void> {
  await rm(join(folder, ".git"), { force: true });
  await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

/**
 * Makes a worktree hold exactly commit `sha`, without a branch: changed, untracked and ignored files go, but for ignored ones that
 * `keep` (patterns as in .gitignore) names.
 */
export async function discardTo(wt: Tree, sha: string, keep: string[]): Promise<void> {
  await forgetOperation(wt, ["rebase-merge", "rebase-apply", "BISECT_START"]);
  await git(wt, ["update-ref", "--no-deref", "HEAD", sha]);
  await discardChanges(wt, keep);
}

/** Makes a worktree hold exactly the commit of its branch, and beyond that nothing but the folders of installed dependencies. */
export async function cleanForReuse(wt: Tree): Promise<void> {
  for (const name of ["index.lock", "HEAD.lock"]) await rm(join(wt.gitDir, name), { force: true });
  await discardChanges(
    wt,
    dependencyFolders.map((name) => `${name}/`),
  );
}

async function discardChanges(wt: Tree, keep: string[]): Promise<void> {
  await git(wt, ["reset", "--hard", "--quiet"]);
  await git(wt, ["clean", "-ffdx", "--quiet", ...keep.flatMap((pattern) => ["-e", pattern])]);
}

/** Forgets what a worktree's git folder holds of the work done there, such as logs and unfinished operations. */
export async function stripGitDir(gitDir: string): Promise<void> {
  const needed = new Set(["HEAD", "index", "commondir", "gitdir"]);
  for (const name of await readdir(gitDir)) if (!needed.has(name)) await rm(join(gitDir, name), { recursive: true, force: true });
}
