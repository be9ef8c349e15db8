import { UserError } from "../domain/errors.ts";
import { type Base, integrationRef } from "./base.ts";
import { bareView, commitOf, type GitDir, GitError, git, gitText, type Repo, shellWord } from "./git.ts";
import { type Author, identityEnv } from "./identity.ts";
import { checkNameIsFree, isAncestor, treeOf } from "./refs.ts";
import { checkedOutAt, unfinishedOperation } from "./worktree-list.ts";

/** A merge that exists as a commit alone: no tree was touched and no branch moved. */
export type Candidate = { kind: "candidate"; sha: string } | { kind: "up-to-date" } | { kind: "conflict"; files: string[] };

/** State of the integration branch against the base; a `candidate` or `conflict` is the merge of a base that diverged from it. */
export type Integration =
  | { kind: "ready"; sha: string }
  | { kind: "candidate"; sha: string; from: string }
  | { kind: "conflict"; files: string[] };

/**
 * Makes sure that the integration branch exists and contains the base: creates it, or moves it forward. When both have
 * commits of their own nothing moves, and the answer is a merge of the base, to be checked and landed by the caller (on
 * `from`), or the conflict.
 * Throws UserError when the branch cannot be made, or is checked out somewhere.
 */
export async function ensureIntegration(repo: Repo, base: Base): Promise<Integration> {
  const ref = integrationRef(base);
  const current = await commitOf(repo, ref);
  if (current === null) {
    await checkNameIsFree(repo, ref.slice("refs/heads/".length));
    await landCandidate(repo, { ref, from: null, to: base.sha });
    return { kind: "ready", sha: (await commitOf(repo, ref)) ?? base.sha };
  }
  if (await isAncestor(repo, base.sha, current)) return { kind: "ready", sha: current };
  if (await isAncestor(repo, current, base.sha)) {
    await landCandidate(repo, { ref, from: current, to: base.sha });
    return { kind: "ready", sha: (await commitOf(repo, ref)) ?? base.sha };
  }
  const merge = await mergeCommit(repo, current, base.sha, `Merge ${base.name} into ${ref.slice("refs/heads/".length)}`);
  return merge.kind === "conflict" ? merge : { ...merge, from: current };
}

/**
 * Merges a commit onto another as a commit of its own (never a fast-forward, so the merge is named), touching no tree.
 * `up-to-date` means that `onto` holds everything of it already.
 */
export async function buildCandidate(
  repo: Repo,
  options: { onto: string; branchSha: string; message: string; author?: Author },
): Promise<Candidate> {
  const { onto, branchSha } = options;
  if (await isAncestor(repo, branchSha, onto)) return { kind: "up-to-date" };
  const merge = await mergeCommit(repo, onto, branchSha, options.message, options.author);
  if (merge.kind === "candidate" && (await treeOf(repo, merge.sha)) === (await treeOf(repo, onto))) return { kind: "up-to-date" };
  return merge;
}

/**
 * Moves a branch from one commit to a later one, unless somebody else moved it meanwhile ("moved"). A branch that contains
 * the commit already counts as landed. `from: null` creates the branch.
 * Throws UserError when the branch is checked out: its files would seem changed.
 */
export async function landCandidate(repo: Repo, options: { ref: string; from: string | null; to: string }): Promise<"landed" | "moved"> {
  const { ref, from, to } = options;
  const contains = async () => {
    const current = await commitOf(repo, ref);
    return current !== null && (await isAncestor(repo, to, current));
  };
  if (await contains()) return "landed";
  if (from !== null && !(await isAncestor(repo, from, to))) throw new Error(`${to} does not contain ${from}: ${ref} would lose commits`);
  const where = await checkedOutAt(repo, ref);
  if (where !== null) {
    throw new UserError(`The branch ${ref.slice("refs/heads/".length)} is checked out in ${where.path}, so it cannot move.`, {
      hint: `check out another branch there, or look at it with: git -C ${shellWord(where.path)} checkout --detach`,
      exit: "conflict",
    });
  }
  try {
    await git(bareView(repo), ["update-ref", "-m", "orchestrator: land", ref, to, from ?? ""]);
    return "landed";
  } catch (error) {
    if (!(error instanceof GitError) || (await commitOf(repo, ref)) === from) throw error;
    return (await contains()) ? "landed" : "moved";
  }
}

/** Moves the local base branch forward to the integration branch, unless it is checked out or has commits of its own. */
export async function advanceBase(repo: Repo, base: Base): Promise<{ moved: true } | { moved: false; reason: string }> {
  const step = await nextStep(repo, base);
  if (step.kind === "stay") return { moved: false, reason: step.reason };
  const where = await checkedOutAt(repo, step.ref);
  if (where !== null) return { moved: false, reason: `${base.name} is checked out in ${where.path}; run orchestrator land there` };
  const result = await landCandidate(repo, step);
  return result === "landed" ? { moved: true } : { moved: false, reason: `${base.name} was moved by somebody else at the same time` };
}

/**
 * Brings finished work into the user's own checkout, at the user's own request: a fast-forward of a tree without changes.
 * Where the base branch is checked out nowhere only the branch moves.
 */
export async function land(
  repo: Repo,
  base: Base,
): Promise<{ landed: true; from: string; to: string } | { landed: false; reason: string }> {
  const step = await nextStep(repo, base);
  if (step.kind === "stay") return { landed: false, reason: step.reason };
  const where = await checkedOutAt(repo, step.ref);
  if (where === null) {
    const advanced = await advanceBase(repo, base);
    return advanced.moved ? { landed: true, from: step.from, to: step.to } : { landed: false, reason: advanced.reason };
  }
  const user: GitDir & { workTree: string } = { gitDir: where.gitDir, commonDir: repo.commonDir, workTree: where.path };
  if (repo.workTree === null || where.path !== repo.workTree) {
    return { landed: false, reason: `${base.name} is checked out in ${where.path}; run orchestrator land there` };
  }
  const operation = await unfinishedOperation(user);
  if (operation !== null) return { landed: false, reason: `a ${operation} is in progress in ${where.path}; finish or abort it first` };
  const status = await gitText(user, ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"]);
  if (status !== "") return { landed: false, reason: `${where.path} has uncommitted changes; commit or stash them first` };
  try {
    // The user's own files: large ones are wanted here.
    await git(user, ["merge", "--ff-only", "--quiet", step.to], { env: { GIT_LFS_SKIP_SMUDGE: "0" } });
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    return { landed: false, reason: `git could not fast-forward ${where.path}: ${error.stderr.trim()}` };
  }
  return { landed: true, from: step.from, to: step.to };
}

type BaseStep = { kind: "move"; ref: string; from: string; to: string } | { kind: "stay"; reason: string };

async function nextStep(repo: Repo, base: Base): Promise<BaseStep> {
  const ref = `refs/heads/${base.name}`;
  const integration = integrationRef(base);
  const [from, to] = [await commitOf(repo, ref), await commitOf(repo, integration)];
  if (to === null)
    return { kind: "stay", reason: `there is no branch ${integration.slice("refs/heads/".length)} yet: nothing has been merged` };
  if (from === null) return { kind: "stay", reason: `there is no local branch ${base.name}` };
  if (await isAncestor(repo, to, from)) return { kind: "stay", reason: `${base.name} has everything already` };
  if (!(await isAncestor(repo, from, to))) {
    return {
      kind: "stay",
      reason: `${base.name} has commits that ${integration.slice("refs/heads/".length)} lacks; the next merge brings them together`,
    };
  }
  return { kind: "move", ref, from, to };
}

type Merge = { kind: "candidate"; sha: string } | { kind: "conflict"; files: string[] };

async function mergeCommit(repo: Repo, onto: string, branchSha: string, message: string, author?: Author): Promise<Merge> {
  const args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", onto, branchSha];
  const { code, stdout } = await git(bareView(repo), args, { okCodes: [0, 1] });
  const [tree = "", ...files] = stdout.split("\0").filter((field) => field !== "");
  if (code === 1) return { kind: "conflict", files: [...new Set(files)] };
  const sha = await gitText(bareView(repo), ["commit-tree", tree, "-p", onto, "-p", branchSha], {
    input: message.endsWith("\n") ? message : `${message}\n`,
    env: await identityEnv(repo, author),
  });
  return { kind: "candidate", sha };
}
