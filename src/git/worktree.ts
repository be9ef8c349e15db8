import { lstat, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { UserError } from "../domain/errors.ts";
import { discardTo, removeEmptied } from "./discard.ts";
import { bareView, commitOf, type GitDir, git, gitFields, gitText, type Repo, shellWord, textOf } from "./git.ts";
import type { Tree } from "./recovery.ts";
import { checkBranchName, checkNameIsFree, isAncestor } from "./refs.ts";
import { withLock, withRepoLock } from "./repo-lock.ts";
import { checkedOutAt, listWorktrees, unfinishedOperation, type WorktreeEntry } from "./worktree-list.ts";
import {
  checkNeighbours,
  checkPlace,
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
  writeMark,
} from "./worktree-place.ts";
import { makeReady, takeParked } from "./worktree-pool.ts";
import { dropBroken, dropUnclean, fillWorktree, type Owner, undoInterruptedRemoval } from "./worktree-removal.ts";

/** The worktree of a ticket. */
export interface Worktree extends GitDir {
  path: string;
  workTree: string;
  branch: string;
  /** Commit of the branch. */
  head: string;
}

export interface EnsureWorktree {
  repo: Repo;
  /** Folder for the locks that keep processes of ours apart. */
  lockDir: string;
  path: string;
  branch: string;
  /** Commit where the branch starts if it does not exist yet; asked for only then where it is a function. */
  startSha: string | (() => Promise<string>);
  /** Whose it is: what has to be saved on the way is saved under this name. */
  recovery: Owner;
  /** Takes a worktree that is parked for the plan, where there is one, instead of making one anew. */
  reuse?: boolean;
  /** Leaves HEAD where an agent put it, even in the middle of a rebase; commitAll() and resetTo() deal with that. */
  leaveHead?: boolean;
}

/**
 * Makes sure that a worktree stands at `path` with `branch` checked out, whatever an earlier attempt left behind, and
 * returns it; files and commits that are there stay. `created` is false when it stood already.
 * Call it while no run of the ticket is alive: locks that a killed git left are removed.
 * Throws UserError when the path or the branch belongs to somebody else.
 */
export async function ensureWorktree(options: EnsureWorktree): Promise<Worktree & { created: boolean }> {
  const { repo, lockDir, branch } = options;
  await checkBranchName(repo, branch);
  const path = await checkPlace(repo, options.path);
  return withLock(lockDir, path, async () => {
    await undoInterruptedRemoval(path);
    const { gitDir, created } = await registerReady({ ...options, path });
    const wt = { path, workTree: path, gitDir, commonDir: repo.commonDir, branch };
    for (const name of ["index.lock", "HEAD.lock"]) await rm(join(gitDir, name), { force: true });
    // Registration makes no index: one that is missing says that the files were never written to the end.
    if (!(await exists(join(gitDir, "index")))) await fillWorktree(wt, options.recovery);
    else if (!(await isMarkedFilled(gitDir))) await markFilled(gitDir);
    const tip = options.leaveHead ? await commitOf(wt, `refs/heads/${branch}`) : null;
    return { ...wt, head: tip ?? (await attach(wt)), created };
  });
}

/**
 * Makes sure that a worktree without a branch stands at `path` on commit `sha`, holding exactly that commit: changed, untracked
 * and ignored files go, but for ignored ones that `keep` (patterns as in .gitignore) names, such as caches.
 * It is disposable: nothing in it is saved. Throws UserError when `path` holds anything else than such a worktree.
 */
export async function integrationWorktree(options: {
  repo: Repo;
  lockDir: string;
  path: string;
  sha: string;
  keep?: string[];
}): Promise<Tree & { path: string; head: string }> {
  const { repo, lockDir, sha } = options;
  const path = await checkWorktreePath(repo, options.path);
  return withLock(lockDir, path, async () => {
    const gitDir = await withRepoLock(repo, lockDir, () => registerDetached(repo, path, sha));
    const wt = { path, workTree: path, gitDir, commonDir: repo.commonDir };
    for (const name of ["index.lock", "HEAD.lock"]) await rm(join(gitDir, name), { force: true });
    await discardTo(wt, sha, options.keep ?? []);
    return { ...wt, head: sha };
  });
}

async function registerDetached(repo: Repo, path: string, sha: string): Promise<string> {
  const entry = (await listWorktrees(repo)).find((each) => each.path === path);
  if (entry && (await isFilled(path, entry))) {
    const mark = await readMark(entry.gitDir);
    const unfinished = mark === undefined && entry.ref === null && !(await exists(join(entry.gitDir, "index")));
    if (mark !== integrationMark && !unfinished) throw notAWorktree(repo, path);
    await repairLink(path, entry.gitDir);
    await repairCommonDir(repo, entry.gitDir);
    await writeMark(entry.gitDir, integrationMark);
    return entry.gitDir;
  }
  if (await holdsFiles(path)) throw notAWorktree(repo, path);
  if (entry) await dropBroken(repo, entry, null);
  await rm(join(path, ".git"), { force: true });
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  return addWorktree(repo, path, ["--detach", path, sha], integrationMark);
}

/** Registers a worktree without writing its files, marks whose it is, and returns its git folder. */
async function addWorktree(repo: Repo, path: string, what: string[], mark: string): Promise<string> {
  await git(bareView(repo), ["worktree", "add", "--quiet", "--no-checkout", ...what]);
  const link = await readFile(join(path, ".git"), "utf8");
  const gitDir = join(repo.commonDir, "worktrees", basename(link.trim()));
  await writeMark(gitDir, mark);
  return gitDir;
}

/** What a worktree holds beyond its commit. Paths are relative to it; submodules are not looked into. */
export async function worktreeState(wt: Tree): Promise<{ head: string; clean: boolean; changedFiles: string[] }> {
  const head = await gitText(wt, ["rev-parse", "--verify", "HEAD"]);
  const status = ["status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignore-submodules=all", "--no-renames"];
  const changedFiles = (await gitFields(wt, status)).map((line) => line.slice(3));
  return { head, clean: changedFiles.length === 0, changedFiles };
}

/**
 * Brings HEAD of a worktree back to its branch when an agent left it detached or on a branch of its own, and returns the
 * commit. The branch only moves forward, and files change only when none was edited. Throws UserError when it cannot be done so.
 */
export async function attach(wt: Omit<Worktree, "head">): Promise<string> {
  const ref = `refs/heads/${wt.branch}`;
  const current = await headRef(wt);
  const head = await commitOf(wt, current || "HEAD");
  if (current === ref && head !== null) return head;
  const tip = await commitOf(wt, ref);
  const operation = await unfinishedOperation(wt);
  if (
    operation === null &&
    head !== null &&
    tip !== null &&
    head !== tip &&
    (await isAncestor(wt, head, tip)) &&
    (await worktreeState(wt)).clean
  ) {
    await git(wt, ["checkout", "--quiet", "--no-overwrite-ignore", wt.branch]);
    return tip;
  }
  if (operation === "rebase" || head === null || (tip !== null && !(await isAncestor(wt, tip, head)))) {
    const where =
      operation === "rebase" ? "in the middle of a rebase" : current === "" ? "on no branch" : `on ${current.slice("refs/heads/".length)}`;
    throw new UserError(`The worktree ${wt.path} is ${where}, and the branch ${wt.branch} has commits that are not there.`, {
      hint:
        operation === "rebase"
          ? "finish or abort the rebase there"
          : `merge there what is missing, or: git -C ${shellWord(wt.path)} checkout ${wt.branch}`,
      exit: "needsAttention",
    });
  }
  await git(wt, ["update-ref", ref, head, tip ?? ""]);
  await git(wt, ["symbolic-ref", "HEAD", ref]);
  return head;
}

/** The ref that HEAD stands for; "" when it is detached. Its file says so, but for ways of keeping refs that only git can read. */
async function headRef(wt: GitDir): Promise<string> {
  const ref = /^ref: (refs\/heads\/.+)\n$/.exec((await textOf(join(wt.gitDir, "HEAD"), 1000)) ?? "")?.[1];
  if (ref !== undefined && ref !== "refs/heads/.invalid") return ref;
  return (await git(wt, ["symbolic-ref", "--quiet", "HEAD"], { okCodes: [0, 1] })).stdout.trim();
}

/** Registers the worktree; one that was parked is made ready, or makes way for a new one when it does not come clean. */
async function registerReady(options: EnsureWorktree): Promise<{ gitDir: string; created: boolean }> {
  const { repo, lockDir, path, branch } = options;
  const registered = await withRepoLock(repo, lockDir, () => register(options));
  if (!registered.taken) return registered;
  const wt = { gitDir: registered.gitDir, commonDir: repo.commonDir, workTree: path, branch };
  if (await makeReady(wt).catch(() => false)) return registered;
  return withRepoLock(repo, lockDir, async () => {
    await dropUnclean(repo, { path, gitDir: registered.gitDir });
    return register({ ...options, reuse: false });
  });
}

/** `taken`: the worktree was parked, its files are still those of another ticket. */
async function register(options: EnsureWorktree): Promise<{ gitDir: string; created: boolean; taken: boolean }> {
  const { repo, path, branch, startSha, recovery } = options;
  const start = async () => (typeof startSha === "string" ? startSha : startSha());
  const ref = `refs/heads/${branch}`;
  const entries = await listWorktrees(repo);
  checkNeighbours(repo, path, entries);
  const entry = entries.find((each) => each.path === path);
  const stray = entries.find((each) => each.path === adoptionPath(path));
  if (stray) await dropBroken(repo, stray, recovery);
  await removeEmptied(adoptionPath(path));

  const filled = entry !== undefined && (await isFilled(path, entry));
  // Whoever was taking it for this ticket was killed.
  const halfTaken = filled && (await readMark(entry.gitDir)) === parkedMark;
  if (filled && !halfTaken) {
    if (entry.ref !== ref && (await readMark(entry.gitDir)) !== branch) {
      const owner = entry.ref === null ? "no branch" : `the branch ${entry.ref.slice("refs/heads/".length)}`;
      throw new UserError(`${path} is a worktree of something else: it is on ${owner}, not on ${branch}.`, {
        hint: "give each ticket a worktree of its own",
        exit: "conflict",
      });
    }
    await repairLink(path, entry.gitDir);
    await repairCommonDir(repo, entry.gitDir);
    if (entry.locked === "initializing") await git(bareView(repo), ["worktree", "unlock", path]);
    if (!(await commitOf(repo, ref)) && entry.ref === ref) await reviveBranch(repo, ref, entry.gitDir, start);
    await writeMark(entry.gitDir, branch);
    return { gitDir: entry.gitDir, created: false, taken: false };
  }
  if (entry && !halfTaken) await dropBroken(repo, entry, recovery);

  const elsewhere = await checkedOutAt(repo, ref, entries);
  if (elsewhere && elsewhere.path !== path && elsewhere.path !== adoptionPath(path)) {
    if (!elsewhere.prunable || (await readMark(elsewhere.gitDir)) !== branch) {
      throw new UserError(`The branch ${branch} is checked out in ${elsewhere.path}.`, {
        hint: "check out another branch there, or give the ticket another branch",
        exit: "conflict",
      });
    }
    await dropBroken(repo, elsewhere, recovery);
  }
  const adopt = !halfTaken && (await holdsFiles(path));
  if (adopt && !(await isOurs(repo, path))) throw notAWorktree(repo, path);
  if (!adopt && !halfTaken) await rm(join(path, ".git"), { force: true });

  const known = (await commitOf(repo, ref)) !== null;
  if (!known) await checkNameIsFree(repo, branch);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const taken = halfTaken ? entry.gitDir : adopt || !options.reuse ? null : await takeParked(repo, entries, path, recovery.planId);
  if (taken !== null) {
    await repairLink(path, taken);
    await repairCommonDir(repo, taken);
    if (!known) await git(bareView(repo), ["update-ref", ref, await start(), ""]);
    await git({ gitDir: taken, commonDir: repo.commonDir }, ["symbolic-ref", "HEAD", ref]);
    return { gitDir: taken, created: true, taken: true };
  }
  const target = adopt ? adoptionPath(path) : path;
  const what = known ? [target, branch] : ["--no-track", "-b", branch, target, await start()];
  const gitDir = await addWorktree(repo, target, what, branch);
  if (adopt) await moveRegistration(repo, { gitDir, from: target, to: path });
  return { gitDir, created: true, taken: false };
}

/** Gives the fresh registration of an empty neighbour folder to a folder with files whose own registration was lost. */
async function moveRegistration(repo: Repo, move: { gitDir: string; from: string; to: string }): Promise<void> {
  await git({ gitDir: move.gitDir, commonDir: repo.commonDir }, ["read-tree", "HEAD"]);
  await writeFile(join(move.to, ".git"), `gitdir: ${move.gitDir}\n`);
  await writeFile(join(move.gitDir, "gitdir"), `${join(move.to, ".git")}\n`);
  await removeEmptied(move.from);
}

/** A branch that was deleted under its worktree comes back where the worktree last stood. */
async function reviveBranch(repo: Repo, ref: string, gitDir: string, start: () => Promise<string>): Promise<void> {
  const log = await readFile(join(gitDir, "logs", "HEAD"), "utf8").catch(() => "");
  const last = log.trimEnd().split("\n").at(-1)?.split(" ")[1];
  const sha = (last ? await commitOf(repo, last) : null) ?? (await start());
  await git(repo, ["update-ref", ref, sha, ""]);
}

/** The file that leads from a worktree to its git folder. One that leads elsewhere may run foreign configuration. */
async function repairLink(path: string, gitDir: string): Promise<void> {
  const link = join(path, ".git");
  const info = await lstat(link).catch(() => undefined);
  if (info && !info.isFile()) {
    throw new UserError(`${link} was replaced: it is no longer the file that git made.`, {
      hint: `move it away (mv ${shellWord(link)} ${shellWord(`${path}-git`)}), then retry the ticket`,
      exit: "unsafe",
    });
  }
  if (!info || resolve(path, (await readFile(link, "utf8")).replace(/^gitdir: /, "").trim()) !== gitDir) {
    await writeFile(link, `gitdir: ${gitDir}\n`);
  }
}

/** Whether the folder of a registered worktree stands; one that git was killed while making, or that a person emptied, does not. */
async function isFilled(path: string, entry: WorktreeEntry): Promise<boolean> {
  if (await holdsFiles(path)) return true;
  return (await exists(join(path, ".git"))) && (entry.locked !== "initializing" || (await exists(join(entry.gitDir, "index"))));
}

function adoptionPath(path: string): string {
  return `${path}.adopt~`;
}
