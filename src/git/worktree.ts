import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, isAbsolute, join, resolve, sep } from "node:path";
import { UserError } from "../domain/errors.ts";
import { bareView, commitOf, type GitDir, git, gitFields, gitText, leadsToCommonDir, type Repo, shellWord } from "./git.ts";
import { isMerged } from "./merged.ts";
import { nestedRepositories, type RecoveryKey, saveRecovery, type Tree } from "./recovery.ts";
import { checkBranchName, checkNameIsFree, isAncestor } from "./refs.ts";
import { withLock, withRepoLock } from "./repo-lock.ts";
import { canonicalPath, checkedOutAt, deregister, listWorktrees, unfinishedOperation, type WorktreeEntry } from "./worktree-list.ts";

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
  /** Commit where the branch starts if it does not exist yet. */
  startSha: string;
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
  const path = await checkWorktreePath(repo, options.path);
  return withLock(lockDir, path, async () => {
    await undoInterruptedRemoval(path);
    const { gitDir, created } = await withRepoLock(repo, lockDir, () => register({ ...options, path }));
    const wt = { path, workTree: path, gitDir, commonDir: repo.commonDir, branch };
    for (const name of ["index.lock", "HEAD.lock"]) await rm(join(gitDir, name), { force: true });
    // Registration makes no index: one that is missing says that the files were never written to the end.
    if (!(await exists(join(gitDir, "index")))) await git(wt, ["reset", "--hard", "--quiet", "HEAD"]);
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
    for (const name of ["index.lock", "HEAD.lock", "rebase-merge", "rebase-apply", "BISECT_START"]) {
      await rm(join(gitDir, name), { recursive: true, force: true });
    }
    await git(wt, ["update-ref", "--no-deref", "HEAD", sha]);
    await git(wt, ["reset", "--hard", "--quiet"]);
    await git(wt, ["clean", "-ffdx", "--quiet", ...(options.keep ?? []).flatMap((pattern) => ["-e", pattern])]);
    return { ...wt, head: sha };
  });
}

/** Removes a worktree of integrationWorktree(), if there is one; whatever else stands at `path` stays. */
export async function removeIntegrationWorktree(options: { repo: Repo; lockDir: string; path: string }): Promise<void> {
  const { repo, lockDir } = options;
  const path = await canonicalPath(options.path);
  await withLock(lockDir, path, async () => {
    const entry = (await listWorktrees(repo)).find((each) => each.path === path);
    if (!entry || (await readMark(entry.gitDir)) !== integrationMark) return;
    await withRepoLock(repo, lockDir, () => deregister(repo, entry));
    await removeTree(path);
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
  if (entry) await dropBroken(repo, entry);
  await rm(join(path, ".git"), { force: true });
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  return addWorktree(repo, path, ["--detach", path, sha], integrationMark);
}

/** Registers a worktree without writing its files, marks whose it is, and returns its git folder. */
async function addWorktree(repo: Repo, path: string, what: string[], mark: string): Promise<string> {
  await git(bareView(repo), ["worktree", "add", "--quiet", "--no-checkout", ...what]);
  const made = (await listWorktrees(repo)).find((each) => each.path === path);
  if (!made) throw new Error(`git worktree add made no worktree at ${path}`);
  await writeMark(made.gitDir, mark);
  return made.gitDir;
}

export interface RemoveWorktree {
  repo: Repo;
  lockDir: string;
  path: string;
  branch: string;
  /** Refs or commits that keep the work once it is in one of them. */
  mergedInto: string[];
  recovery: { planId: string; ticketId: string };
  now: RecoveryKey["now"];
}

export interface Removal {
  /** The folder: removed, never there, or moved to `keptAt` because it holds repositories of its own. */
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
    await sweepTrash(path);
    const entry = (await listWorktrees(repo)).find((each) => each.path === path);
    if (entry) {
      checkUnlocked(entry);
      await repairCommonDir(repo, entry.gitDir);
    }
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
      if (entry) await deregister(repo, entry);
      if (tip === null) return;
      removal.branch = merged && (await checkedOutAt(repo, ref)) === null ? "deleted" : "kept";
      if (removal.branch === "deleted") await git(bareView(repo), ["update-ref", "-d", ref, tip]);
    });
    if (removal.worktree === "kept") removal.keptAt = await keepAside(aside, path, options.now);
    if (removal.worktree === "removed") {
      const trash = join(dirname(path), `${trashPrefix(path)}${stamp(options.now)}-${process.pid}`);
      await rename(aside, trash);
      await removeTree(trash);
    }
    return removal;
  });
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
  const { stdout } = await git(wt, ["symbolic-ref", "--quiet", "HEAD"], { okCodes: [0, 1] });
  const current = stdout.trim();
  const head = await commitOf(wt, "HEAD");
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

async function register(options: EnsureWorktree): Promise<{ gitDir: string; created: boolean }> {
  const { repo, path, branch, startSha } = options;
  const ref = `refs/heads/${branch}`;
  const entries = await listWorktrees(repo);
  const entry = entries.find((each) => each.path === path);
  const stray = entries.find((each) => each.path === adoptionPath(path));
  if (stray) await dropBroken(repo, stray);
  await rm(adoptionPath(path), { recursive: true, force: true });

  if (entry && (await isFilled(path, entry))) {
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
    if (!(await commitOf(repo, ref)) && entry.ref === ref) await reviveBranch(repo, ref, entry.gitDir, startSha);
    await writeMark(entry.gitDir, branch);
    return { gitDir: entry.gitDir, created: false };
  }
  if (entry) await dropBroken(repo, entry);

  const elsewhere = await checkedOutAt(repo, ref);
  if (elsewhere && elsewhere.path !== path && elsewhere.path !== adoptionPath(path)) {
    if (!elsewhere.prunable || (await readMark(elsewhere.gitDir)) !== branch) {
      throw new UserError(`The branch ${branch} is checked out in ${elsewhere.path}.`, {
        hint: "check out another branch there, or give the ticket another branch",
        exit: "conflict",
      });
    }
    await dropBroken(repo, elsewhere);
  }
  const adopt = await holdsFiles(path);
  if (adopt && !(await isOurs(repo, path))) throw notAWorktree(repo, path);
  if (!adopt) await rm(join(path, ".git"), { force: true });

  const known = (await commitOf(repo, ref)) !== null;
  if (!known) await checkNameIsFree(repo, branch);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const target = adopt ? adoptionPath(path) : path;
  const what = known ? [target, branch] : ["--no-track", "-b", branch, target, startSha];
  const gitDir = await addWorktree(repo, target, what, branch);
  if (adopt) await moveRegistration(repo, { gitDir, from: target, to: path });
  return { gitDir, created: true };
}

/** Gives the fresh registration of an empty neighbour folder to a folder with files whose own registration was lost. */
async function moveRegistration(repo: Repo, move: { gitDir: string; from: string; to: string }): Promise<void> {
  await git({ gitDir: move.gitDir, commonDir: repo.commonDir }, ["read-tree", "HEAD"]);
  await writeFile(join(move.to, ".git"), `gitdir: ${move.gitDir}\n`);
  await writeFile(join(move.gitDir, "gitdir"), `${join(move.to, ".git")}\n`);
  await rm(move.from, { recursive: true, force: true });
}

/** Forgets a registration whose folder is gone or was never filled. */
async function dropBroken(repo: Repo, entry: WorktreeEntry): Promise<void> {
  checkUnlocked(entry);
  await deregister(repo, entry);
}

/** git itself locks with "initializing" while it adds a worktree; left behind, it means that git was killed. */
function checkUnlocked(entry: WorktreeEntry): void {
  if (entry.locked === null || entry.locked === "initializing") return;
  throw new UserError(`The worktree ${entry.path} is locked${entry.locked === "" ? "" : `: ${entry.locked}`}.`, {
    hint: `unlock it first: git worktree unlock ${shellWord(entry.path)}`,
    exit: "conflict",
  });
}

/** A branch that was deleted under its worktree comes back where the worktree last stood. */
async function reviveBranch(repo: Repo, ref: string, gitDir: string, startSha: string): Promise<void> {
  const log = await readFile(join(gitDir, "logs", "HEAD"), "utf8").catch(() => "");
  const last = log.trimEnd().split("\n").at(-1)?.split(" ")[1];
  const sha = (last ? await commitOf(repo, last) : null) ?? startSha;
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

/** The file that leads from the git folder of a worktree to its repository. */
async function repairCommonDir(repo: Repo, gitDir: string): Promise<void> {
  if (await leadsToCommonDir({ gitDir, commonDir: repo.commonDir })) return;
  await writeFile(join(gitDir, "commondir"), "../..\n");
}

/** Saves what the folder `aside`, a worktree that was moved, holds beyond `mergedInto`; says whether it holds repositories of its own. */
async function saveBeforeRemoval(
  options: RemoveWorktree,
  aside: string,
  entry: WorktreeEntry | undefined,
): Promise<{ recovery: string | null; nested: boolean }> {
  const { repo, branch, mergedInto } = options;
  let tree: Tree = { gitDir: entry?.gitDir ?? "", commonDir: repo.commonDir, workTree: aside };
  let head = entry ? await commitOf(tree, "HEAD") : null;
  let stray: string | null = null;
  try {
    if (head === null) {
      head = (await commitOf(repo, `refs/heads/${branch}`)) ?? (await gitText(repo, ["rev-parse", "--verify", "HEAD^{commit}"]));
      stray = await strayGitDir(repo, head);
      tree = { ...tree, gitDir: stray };
    }
    const key = { ...options.recovery, now: options.now };
    const recovery = await saveRecovery(tree, key, (await isMerged(repo, head, mergedInto)) ? [head] : []);
    return { recovery, nested: await holdsRepositories(tree) };
  } finally {
    if (stray !== null) await rm(stray, { recursive: true, force: true });
  }
}

/** The canonical form of a worktree's path. Throws UserError for places where one must never stand, or be removed. */
export async function checkWorktreePath(repo: Repo, given: string): Promise<string> {
  const refuse = (why: string) =>
    new UserError(`${given} cannot be a worktree: ${why}.`, {
      hint: "set worktreeRoot to a folder of its own outside the repository",
      exit: "unsafe",
    });
  if (!isAbsolute(given)) throw refuse("the path is not absolute");
  if ((await lstat(given).catch(() => undefined))?.isSymbolicLink()) throw refuse("it is a symbolic link");
  const path = await canonicalPath(given);
  if (path === dirname(path)) throw refuse("it is the root of the file system");
  if (contains(path, await canonicalPath(homedir()))) throw refuse("it is the home folder or contains it");
  if (contains(path, repo.path) || contains(path, repo.commonDir)) throw refuse("it is the repository or contains it");
  if (contains(repo.commonDir, path)) throw refuse("it lies inside the repository's git folder");
  if (repo.workTree !== null && contains(repo.workTree, path)) throw refuse("it lies inside the repository");
  for (const other of await listWorktrees(repo)) {
    if (other.path === path || other.path === repo.commonDir) continue;
    if (contains(other.path, path)) throw refuse(`it lies inside the worktree ${other.path}`);
    if (contains(path, other.path)) throw refuse(`it contains the worktree ${other.path}`);
  }
  return path;
}

function contains(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** Whether a folder says itself that it is, or was, a worktree of this repository. */
async function isOurs(repo: Repo, path: string): Promise<boolean> {
  const link = await readFile(join(path, ".git"), "utf8").catch(() => undefined);
  if (link === undefined) return (await listWorktrees(repo)).some((each) => each.path === path);
  return contains(join(repo.commonDir, "worktrees"), resolve(path, link.replace(/^gitdir: /, "").trim()));
}

function notAWorktree(repo: Repo, path: string): UserError {
  return new UserError(`${path} exists and is not a worktree of ${repo.path}.`, {
    hint: "move it away, or choose another worktreeRoot",
    exit: "unsafe",
  });
}

/** A git folder for a tree that lost its own, good for reading the tree only. */
async function strayGitDir(repo: Repo, head: string): Promise<string> {
  const gitDir = await mkdtemp(join(tmpdir(), "orchestrator-gitdir-"));
  await writeFile(join(gitDir, "commondir"), `${repo.commonDir}\n`);
  await writeFile(join(gitDir, "HEAD"), `${head}\n`);
  return gitDir;
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

/** Whether the folder of a registered worktree stands; one that git was killed while making, or that a person emptied, does not. */
async function isFilled(path: string, entry: WorktreeEntry): Promise<boolean> {
  if (await holdsFiles(path)) return true;
  return (await exists(join(path, ".git"))) && (entry.locked !== "initializing" || (await exists(join(entry.gitDir, "index"))));
}

async function holdsFiles(path: string): Promise<boolean> {
  const names = await readdir(path).catch(() => []);
  return names.some((name) => name !== ".git");
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** Which branch a worktree was made for: its HEAD is not proof, an agent may check out what it likes. */
async function readMark(gitDir: string): Promise<string | undefined> {
  return readFile(join(gitDir, markName), "utf8").catch(() => undefined);
}

async function writeMark(gitDir: string, branch: string): Promise<void> {
  await writeFile(join(gitDir, markName), branch);
}

const markName = "orchestrator-branch";

/** No branch can have this name. */
const integrationMark = ": integration";

function adoptionPath(path: string): string {
  return `${path}.adopt~`;
}

/** "~" is in no ticket id, so the trash of one ticket is never taken for that of another. */
function trashPrefix(path: string): string {
  return `.trash-${basename(path)}~`;
}

function stamp(at: string): string {
  return at.replaceAll(/[-:.]/g, "");
}

function removalPath(path: string): string {
  return join(dirname(path), `.removing-${basename(path)}~`);
}

/** A removal that was killed before it was done saving: the folder goes back to its place. */
async function undoInterruptedRemoval(path: string): Promise<void> {
  const aside = removalPath(path);
  if (!(await exists(aside))) return;
  if (await exists(path)) await keepAside(aside, path, new Date().toISOString());
  else await rename(aside, path);
}

/** Gives a folder that must not be deleted a visible name beside the worktree's path, and returns it. */
async function keepAside(folder: string, path: string, now: string): Promise<string> {
  const kept = `${path}.kept-${stamp(now)}-${process.pid}`;
  await rename(folder, kept);
  return kept;
}

/** What a removal that was killed had saved already and was about to delete. */
async function sweepTrash(path: string): Promise<void> {
  for (const name of await readdir(dirname(path)).catch(() => [])) {
    if (name.startsWith(trashPrefix(path))) await removeTree(join(dirname(path), name));
  }
}

async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true, maxRetries: 3 });
  } catch {
    // Some tools write-protect the folders of their caches.
    await makeWritable(path);
    await rm(path, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function makeWritable(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await makeWritable(join(folder, entry.name));
  }
}
