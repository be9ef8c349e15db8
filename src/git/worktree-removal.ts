/**
 * Everything that takes files or commits away from a worktree. What nobody else keeps is saved under a recovery ref first,
 * but for worktrees that were made to be thrown away.
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { basename, dirname, isAbsolute, join } from "node:path";
import { instant } from "../domain/time.ts";
import { withTempDir } from "../lib/temp-dir.ts";
import { deleteRef, deregister, forgetOperation } from "./discard.ts";
import { commitOf, type GitDir, git, gitText, type Repo } from "./git.ts";
import { isMerged } from "./merged.ts";
import {
  nestedRepositories,
  parseRecoveryRef,
  type RecoveryKey,
  saveCommit,
  saveRecovery,
  saveStrayCommit,
  snapshotTree,
  type Tree,
} from "./recovery.ts";
import { checkBranchName, isAncestor } from "./refs.ts";
import { withLock, withRepoLock } from "./repo-lock.ts";
import { moveToTrash } from "./trash.ts";
import { canonicalPath, checkedOutAt, listWorktrees, type WorktreeEntry } from "./worktree-list.ts";
import {
  checkUnlocked,
  checkWorktreePath,
  exists,
  holdsFiles,
  integrationMark,
  isMarkedFilled,
  isOurs,
  markFilled,
  notAWorktree,
  parkedMark,
  readMark,
  repairCommonDir,
} from "./worktree-place.ts";
import { park } from "./worktree-pool.ts";

/** The ticket that a worktree is for. */
export type Owner = Pick<RecoveryKey, "planId" | "ticketId">;

export interface RemoveWorktree {
  repo: Repo;
  lockDir: string;
  path: string;
  branch: string;
  /** Refs or commits that keep the work once it is in one of them. */
  mergedInto: string[];
  recovery: Owner;
  now: RecoveryKey["now"];
  /** How many worktrees of its plan may be kept for later tickets; it becomes one of them while there are fewer. */
  park?: number;
  /** The branch stays, merged or not. */
  keepBranch?: boolean;
  /** Called once nobody else can make the worktree, before anything is touched; to refuse, it throws. */
  check?: () => void | Promise<void>;
}

export interface Removal {
  /** The folder: gone (parked for another ticket, or trash that is deleted in the background), never there, or moved to `keptAt` because it holds repositories of its own. */
  worktree: "removed" | "absent" | "kept";
  keptAt: string | null;
  branch: "deleted" | "kept" | "absent";
  /** Where work that was not merged is saved; null when there was none. */
  recovery: string | null;
}

/**
 * Removes the worktree of a ticket, and its branch once that is merged. State that is not provably merged is saved first.
 * A folder that is gone already still has its registration and its merged branch cleaned up.
 * Throws UserError when the path belongs to somebody else or was locked by a person.
 */
export async function removeWorktree(options: RemoveWorktree): Promise<Removal> {
  const { repo, lockDir, branch, mergedInto } = options;
  await checkBranchName(repo, branch);
  const path = await checkWorktreePath(repo, options.path);
  return withLock(lockDir, path, async () => {
    await undoInterruptedRemoval(path);
    const entry = (await listWorktrees(repo)).find((each) => each.path === path);
    if (entry) {
      checkUnlocked(entry);
      await repairCommonDir(repo, entry.gitDir);
    }
    await options.check?.();
    const removal: Removal = { worktree: "absent", keptAt: null, branch: "absent", recovery: null };
    const standing = await exists(path);
    const aside = removalPath(path);
    if (standing) {
      if (!(await isOurs(repo, path))) throw notAWorktree(repo, path);
      // Moved away first: from here on nothing that still knows the path can write what would not be saved.
      await rename(path, aside);
      const saved = await saveBeforeRemoval(options, aside, entry).catch(async (error: unknown) => {
        await rename(aside, path);
        throw error;
      });
      removal.recovery = saved.recovery;
      removal.worktree = saved.nested ? "kept" : "removed";
    }
    const ref = `refs/heads/${branch}`;
    const tip = await commitOf(repo, ref);
    const merged = tip !== null && !mergedInto.includes(branch) && !mergedInto.includes(ref) && (await isMerged(repo, tip, mergedInto));
    await withRepoLock(repo, lockDir, async () => {
      if (entry && removal.worktree === "kept") await keepSubmodules(entry, aside);
      const reused = removal.worktree === "removed" && entry !== undefined && (await parkFor(options, { entry, aside, path }));
      // The folder first: one without its registration would be taken for work that came back.
      if (removal.worktree === "removed" && !reused) await moveToTrash(aside, path, options.now);
      if (removal.worktree === "kept") removal.keptAt = await keepAside(aside, path, options.now);
      if (entry && !reused) await deregister(repo, entry);
      if (tip === null) return;
      removal.branch = merged && !options.keepBranch && (await checkedOutAt(repo, ref)) === null ? "deleted" : "kept";
      if (removal.branch === "deleted") await deleteRef(repo, ref, tip);
    });
    return removal;
  });
}

async function parkFor({ repo, recovery, park: limit }: RemoveWorktree, worktree: Parameters<typeof park>[2]): Promise<boolean> {
  if (limit === undefined) return false;
  return park(repo, await listWorktrees(repo), worktree, { planId: recovery.planId, limit });
}

/** A removal that was killed before it was done saving: the folder goes back to its place. */
export async function undoInterruptedRemoval(path: string): Promise<void> {
  const aside = removalPath(path);
  if (!(await exists(aside))) return;
  if (await exists(path)) await keepAside(aside, path, new Date().toISOString());
  else await rename(aside, path);
}

/** Removes a worktree of integrationWorktree(), if there is one; whatever else stands at `path` stays. */
export async function removeIntegrationWorktree(options: { repo: Repo; lockDir: string; path: string }): Promise<void> {
  const { repo, lockDir } = options;
  const path = await canonicalPath(options.path);
  await withLock(lockDir, path, async () => {
    const entry = (await listWorktrees(repo)).find((each) => each.path === path);
    if (!entry || (await readMark(entry.gitDir)) !== integrationMark) return;
    await withRepoLock(repo, lockDir, async () => {
      if (await exists(path)) await moveToTrash(path, path, instant(Date.now()));
      await deregister(repo, entry);
    });
  });
}

/**
 * Puts a worktree and its branch back to a commit: changed and untracked files go, ignored ones and nested repositories stay.
 * Everything that goes is saved first; returns the recovery refs, which are none when nothing was lost.
 */
export async function resetTo(wt: Tree & { branch: string }, sha: string, key: RecoveryKey): Promise<{ saved: string[] }> {
  const ref = `refs/heads/${wt.branch}`;
  const saved = [await saveRecovery(wt, key, [sha])];
  const tip = await commitOf(wt, ref);
  // In the middle of a rebase the branch still stands where it was, apart from HEAD.
  if (tip !== null && tip !== (await commitOf(wt, "HEAD")) && !(await isAncestor(wt, tip, sha))) saved.push(await saveCommit(wt, tip, key));
  await forgetOperation(wt, ["rebase-merge", "rebase-apply", "BISECT_START", "BISECT_LOG"]);
  await git(wt, ["symbolic-ref", "HEAD", ref]);
  await git(wt, ["reset", "--hard", "--quiet", sha]);
  await git(wt, ["clean", "-fd", "--quiet"]);
  return { saved: saved.filter((each) => each !== null) };
}

/**
 * Puts a worktree back to a commit as resetTo() does, and then lays the files of another one over it: they show as changes that
 * nobody has staged.
 */
export async function resetToFiles(
  wt: Tree & { branch: string },
  sha: string,
  files: string,
  key: RecoveryKey,
): Promise<{ saved: string[] }> {
  const done = await resetTo(wt, sha, key);
  await git(wt, ["read-tree", "--reset", "-u", files]);
  // The index goes back to the commit, so that new files are untracked again and nothing is staged.
  await git(wt, ["read-tree", sha]);
  return done;
}

/**
 * Gives a worktree without an index one. Where its files were never written to the end they are written now, over those
 * that are there; edits among these are saved first. Where they were, somebody deleted the index alone: every file stays as it is.
 */
export async function fillWorktree(wt: Tree, recovery: Owner): Promise<void> {
  if (await isMarkedFilled(wt.gitDir)) {
    await git(wt, ["read-tree", "HEAD"]);
    return;
  }
  if (await holdsFiles(wt.workTree)) await saveEdits(wt, recovery);
  await git(wt, ["reset", "--hard", "--quiet", "HEAD"]);
  await markFilled(wt.gitDir);
}

/** Saves a tree, unless all that distinguishes it from its commit is files that are missing. */
async function saveEdits(wt: Tree, recovery: Owner): Promise<void> {
  const head = await gitText(wt, ["rev-parse", "--verify", "HEAD^{commit}"]);
  const files = await snapshotTree(wt, head);
  const edited = await gitText(wt, ["diff-tree", "-r", "--name-only", "--diff-filter=d", head, files]);
  if (edited !== "") await saveRecovery(wt, { ...recovery, now: instant(Date.now()) });
}

/**
 * Forgets a registration whose folder is gone or was never filled. Commits that no branch has, such as those made on a detached
 * HEAD, are saved first; not with null as owner, for what was made to be thrown away. Throws UserError when a person locked it.
 */
export async function dropBroken(repo: Repo, entry: WorktreeEntry, owner: Owner | null): Promise<void> {
  checkUnlocked(entry);
  await repairCommonDir(repo, entry.gitDir);
  const head = owner === null ? null : await commitOf({ gitDir: entry.gitDir, commonDir: repo.commonDir }, "HEAD");
  if (owner !== null && head !== null) await saveStrayCommit(repo, head, { ...owner, now: instant(Date.now()) });
  await deregister(repo, entry);
}

/** Deletes a state that was saved and stands at `sha`. Throws for any other ref. */
export async function deleteSaved(repo: GitDir, ref: string, sha: string): Promise<void> {
  if (!parseRecoveryRef(ref)) throw new Error(`${ref} is no saved state`);
  await deleteRef(repo, ref, sha);
}

/** Gives up a worktree that was parked and would not come clean: what it holds is no ticket's. */
export async function dropUnclean(repo: Repo, entry: { path: string; gitDir: string }): Promise<void> {
  await moveToTrash(entry.path, entry.path, instant(Date.now()));
  await deregister(repo, entry);
}

/**
 * Gives up a worktree that parkedIn() found. One whose registration is not that of a parked worktree loses its folder alone: it was
 * left by a process that was killed.
 */
export async function dropParked(path: string, lockDir: string): Promise<void> {
  const link = (await readFile(join(path, ".git"), "utf8").catch(() => "")).replace(/^gitdir: /, "").trim();
  const commonDir = dirname(dirname(link));
  const drop = async () => {
    if (!(await exists(path))) return;
    const back = (await readFile(join(link, "gitdir"), "utf8").catch(() => "")).trim();
    if (back === join(path, ".git") && (await readMark(link)) === parkedMark)
      await deregister({ gitDir: commonDir, commonDir }, { path, gitDir: link });
    await moveToTrash(path, path, instant(Date.now()));
  };
  await (isAbsolute(link) ? withRepoLock({ commonDir }, lockDir, drop) : drop());
}

/** Saves what the folder `aside`, a worktree that was moved, holds beyond `mergedInto`; says whether it holds repositories of its own. */
async function saveBeforeRemoval(
  options: RemoveWorktree,
  aside: string,
  entry: WorktreeEntry | undefined,
): Promise<{ recovery: string | null; nested: boolean }> {
  const { repo, branch, mergedInto } = options;
  const save = async (from: Tree, at: string) => {
    const key = { ...options.recovery, now: options.now };
    const recovery = await saveRecovery(from, key, (await isMerged(repo, at, mergedInto)) ? [at] : []);
    return { recovery, nested: await holdsRepositories(from) };
  };
  const tree: Tree = { gitDir: entry?.gitDir ?? "", commonDir: repo.commonDir, workTree: aside };
  const head = entry ? await commitOf(tree, "HEAD") : null;
  if (head !== null) return save(tree, head);
  // A git folder for a tree that lost its own, good for reading the tree only.
  return withTempDir("orchestrator-gitdir-", async (gitDir) => {
    const sha = (await commitOf(repo, `refs/heads/${branch}`)) ?? (await gitText(repo, ["rev-parse", "--verify", "HEAD^{commit}"]));
    await writeFile(join(gitDir, "commondir"), `${repo.commonDir}\n`);
    await writeFile(join(gitDir, "HEAD"), `${sha}\n`);
    return save({ ...tree, gitDir }, sha);
  });
}

/** Whether a tree holds repositories that no commit of ours can save: untracked ones, and submodules that were fetched. */
async function holdsRepositories(tree: Tree): Promise<boolean> {
  const { untracked, submodules } = await nestedRepositories(tree);
  for (const path of [...untracked, ...submodules]) if (await exists(join(tree.workTree, path, ".git"))) return true;
  return false;
}

/** The git folders of submodules live in the registration of their worktree and would go with it. */
async function keepSubmodules(entry: WorktreeEntry, folder: string): Promise<void> {
  const modules = join(entry.gitDir, "modules");
  if (await exists(modules)) await rename(modules, join(folder, ".git-modules"));
}

/** Gives a folder that must not be deleted a visible name beside the worktree's path, and returns it. */
async function keepAside(folder: string, path: string, now: string): Promise<string> {
  const kept = `${path}.kept-${stamp(now)}-${process.pid}`;
  await rename(folder, kept);
  return kept;
}

function stamp(at: string): string {
  return at.replaceAll(/[-:.]/g, "");
}

function removalPath(path: string): string {
  return join(dirname(path), `.removing-${basename(path)}~`);
}
