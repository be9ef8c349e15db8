import { readdir, readFile, realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { bareView, type GitDir, git } from "./git.ts";

/** A worktree as the repository has it registered; its folder may be gone. */
export interface WorktreeEntry {
  path: string;
  /** Full ref that is checked out; null when detached or bare. */
  ref: string | null;
  /** Why it is locked ("" when no reason was given); null when it is not. */
  locked: string | null;
  /** Its folder is gone or no longer points here. */
  prunable: boolean;
  /** Its own git folder; the common one for the main work tree. */
  gitDir: string;
}

/** All worktrees of a repository, the main one first. */
export async function listWorktrees(repo: GitDir): Promise<WorktreeEntry[]> {
  const { stdout } = await git(bareView(repo), ["worktree", "list", "--porcelain", "-z"]);
  const gitDirs = await gitDirsByPath(repo.commonDir);
  const entries: WorktreeEntry[] = [];
  for (const block of stdout.split("\0\0").filter((text) => text !== "")) {
    const fields = new Map(
      block.split("\0").map((line) => {
        const space = line.indexOf(" ");
        return space < 0 ? [line, ""] : [line.slice(0, space), line.slice(space + 1)];
      }),
    );
    const path = await canonicalPath(fields.get("worktree") ?? "");
    entries.push({
      path,
      ref: fields.get("branch") ?? null,
      locked: fields.get("locked") ?? null,
      prunable: fields.has("prunable"),
      gitDir: entries.length === 0 ? repo.commonDir : (gitDirs.get(path) ?? ""),
    });
  }
  return entries;
}

/**
 * Where a branch is checked out, or null. A worktree in the middle of a rebase or bisect of the branch counts: git moves
 * the branch there when that ends. `entries` spares asking git again for what listWorktrees() just said.
 */
export async function checkedOutAt(repo: GitDir, ref: string, entries?: readonly WorktreeEntry[]): Promise<WorktreeEntry | null> {
  for (const entry of entries ?? (await listWorktrees(repo))) {
    if (entry.ref === ref) return entry;
    for (const file of ["rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START"]) {
      const name = await readFile(join(entry.gitDir, file), "utf8").catch(() => "");
      if (name.trim() === ref || `refs/heads/${name.trim()}` === ref) return entry;
    }
  }
  return null;
}

/** Operations that a person or an agent began in a worktree and did not finish, e.g. "rebase". */
export async function unfinishedOperation(wt: GitDir): Promise<"rebase" | "merge" | "cherry-pick" | "revert" | null> {
  const names = new Set(await readdir(wt.gitDir));
  if (names.has("rebase-merge") || names.has("rebase-apply")) return "rebase";
  if (names.has("MERGE_HEAD")) return "merge";
  if (names.has("CHERRY_PICK_HEAD")) return "cherry-pick";
  if (names.has("REVERT_HEAD")) return "revert";
  return null;
}

/** An absolute path without symbolic links, also when its last parts do not exist yet. */
export async function canonicalPath(path: string): Promise<string> {
  const absolute = resolve(path);
  const real = await realpath(absolute).catch(() => undefined);
  if (real !== undefined) return real;
  const parent = dirname(absolute);
  return parent === absolute ? absolute : join(await canonicalPath(parent), basename(absolute));
}

async function gitDirsByPath(commonDir: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const root = join(commonDir, "worktrees");
  for (const name of await readdir(root).catch(() => [])) {
    const gitDir = join(root, name);
    const link = (await readFile(join(gitDir, "gitdir"), "utf8").catch(() => "")).trim();
    if (link !== "") found.set(await canonicalPath(dirname(resolve(gitDir, link))), gitDir);
  }
  return found;
}
