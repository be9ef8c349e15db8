import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../domain/errors.ts";
import { forgetOperation } from "./discard.ts";
import { type GitDir, git, gitFields, gitText } from "./git.ts";
import { type Author, identityEnv } from "./identity.ts";
import { addAll, nestedRepositories } from "./recovery.ts";
import { treeOf } from "./refs.ts";
import { attach, type Worktree } from "./worktree.ts";
import { unfinishedOperation } from "./worktree-list.ts";

/**
 * Commits everything that changed in a worktree, what .gitignore names apart, on its branch. `committed` is false when nothing
 * changed. A merge that an agent resolved becomes a merge commit. `skipped` names repositories nested in the tree: their
 * files cannot be committed here.
 * Throws UserError when conflict markers are left, or a rebase is.
 */
export async function commitAll(
  wt: Worktree,
  options: { message: string; author?: Author },
): Promise<{ sha: string; committed: boolean; skipped: string[] }> {
  const head = await attach(wt);
  const [nested, before] = await Promise.all([nestedRepositories(wt), treeOf(wt, head)]);
  await checkConflicts(wt, nested.unmerged);
  const merging = (await unfinishedOperation(wt)) === "merge";
  await addAll(wt, {}, nested);
  const skipped = nested.untracked;
  const tree = await gitText(wt, ["write-tree"]);
  if (!merging && tree === before) return { sha: head, committed: false, skipped };

  const others = merging ? (await readFile(join(wt.gitDir, "MERGE_HEAD"), "utf8")).trim().split("\n") : [];
  const parents = [head, ...others].flatMap((sha) => ["-p", sha]);
  const sha = await gitText(wt, ["commit-tree", tree, ...parents], {
    input: options.message.endsWith("\n") ? options.message : `${options.message}\n`,
    env: await identityEnv(wt, options.author),
  });
  await git(wt, ["update-ref", "-m", `commit: ${options.message.split("\n", 1)[0]}`, "HEAD", sha, head]);
  await forgetOperation(wt, ["MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "AUTO_MERGE", "CHERRY_PICK_HEAD", "REVERT_HEAD", "SQUASH_MSG"]);
  return { sha, committed: true, skipped };
}

export interface DiffStat {
  files: number;
  insertions: number;
  deletions: number;
}

/** Files and lines that differ between two commits; binary files count no lines. */
export async function diffStat(repo: GitDir, from: string, to: string): Promise<DiffStat> {
  const stat: DiffStat = { files: 0, insertions: 0, deletions: 0 };
  for (const { insertions, deletions } of await fileStats(repo, from, to)) {
    stat.files++;
    stat.insertions += insertions;
    stat.deletions += deletions;
  }
  return stat;
}

export interface FileStat {
  path: string;
  insertions: number;
  deletions: number;
}

/** The files that differ between two commits, with how many lines; binary files count none. */
export async function fileStats(repo: GitDir, from: string, to: string): Promise<FileStat[]> {
  const args = ["diff-tree", "-r", "-z", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv", from, to];
  return (await gitFields(repo, args)).map((line) => {
    const [insertions, deletions, ...path] = line.split("\t");
    return { path: path.join("\t"), insertions: Number(insertions) || 0, deletions: Number(deletions) || 0 };
  });
}

export interface ChangedPath {
  path: string;
  status: "added" | "modified" | "deleted" | "type-changed";
  /** Octal file mode after the change, e.g. "100755", "120000" (symbolic link), "160000" (submodule); "000000" when deleted. */
  mode: string;
}

/** The paths that differ between two commits, sorted as git sorts them. A renamed file is one deleted and one added. */
export async function changedPaths(repo: GitDir, from: string, to: string): Promise<ChangedPath[]> {
  const fields = await gitFields(repo, ["diff-tree", "-r", "-z", "--no-renames", from, to]);
  const changed: ChangedPath[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const [, mode = "", , , letter = ""] = (fields[i] ?? "").split(" ");
    changed.push({ path: fields[i + 1] ?? "", status: statusNames[letter] ?? "modified", mode });
  }
  return changed;
}

const statusNames: Record<string, ChangedPath["status"]> = { A: "added", M: "modified", D: "deleted", T: "type-changed" };

/** The patch between two commits, cut off after `maxLength` characters. */
export async function diffText(repo: GitDir, from: string, to: string, maxLength: number): Promise<{ text: string; truncated: boolean }> {
  const args = ["diff-tree", "-r", "-p", "-M", "--no-color", "--no-ext-diff", "--no-textconv", from, to];
  const { stdout, truncated } = await git(repo, args, { maxOutput: maxLength });
  return { text: stdout, truncated };
}

async function checkConflicts(wt: Worktree, paths: string[]): Promise<void> {
  const left: string[] = [];
  for (const path of paths) {
    const text = await readFile(join(wt.workTree, path), "utf8").catch(() => "");
    if (/^<{7} /m.test(text) && /^>{7} /m.test(text)) left.push(path);
  }
  if (left.length === 0) return;
  throw new UserError(`Conflict markers are left in ${left.join(", ")} (${wt.path}).`, {
    hint: "resolve them there",
    exit: "needsAttention",
  });
}
