import { UserError } from "../domain/errors.ts";
import { type GitDir, git, gitText } from "./git.ts";

/** Throws UserError when a string cannot be the name of a branch. */
export async function checkBranchName(repo: GitDir, branch: string): Promise<void> {
  if (possible.has(branch)) return;
  const { code } = await git(repo, ["check-ref-format", `refs/heads/${branch}`], { okCodes: [0, 1] });
  if (code !== 0 || branch.startsWith("-") || branch.startsWith("refs/") || branch === "HEAD") {
    throw new UserError(`"${branch}" cannot be the name of a branch.`, { hint: "see git help check-ref-format", exit: "invalid" });
  }
  possible.add(branch);
}

/** Names that git has been asked about: its answer depends on the name alone. */
const possible = new Set<string>();

/** Throws UserError when git cannot keep a branch beside those that exist: `a` and `a/b` are file and folder of one name. */
export async function checkNameIsFree(repo: GitDir, branch: string): Promise<void> {
  const parts = branch.split("/");
  const parents = parts.slice(1).map((_, i) => `refs/heads/${parts.slice(0, i + 1).join("/")}`);
  // A pattern that is a whole name also matches what lies below it.
  const found = await gitText(repo, ["for-each-ref", "--format=%(refname)", `refs/heads/${branch}/`, ...parents]);
  const clash = found.split("\n").find((ref) => ref.startsWith(`refs/heads/${branch}/`) || parents.includes(ref));
  if (!clash) return;
  const other = clash.slice("refs/heads/".length);
  throw new UserError(`The branch ${branch} cannot be made: git cannot keep it beside the branch ${other}.`, {
    hint: `rename that one (git branch -m ${other} <other name>), or choose another branch name`,
    exit: "conflict",
  });
}

/** Whether commit `ancestor` is `descendant` or lies in its history. */
export async function isAncestor(repo: GitDir, ancestor: string, descendant: string): Promise<boolean> {
  if (ancestor === descendant) return true;
  const { code } = await git(repo, ["merge-base", "--is-ancestor", ancestor, descendant], { okCodes: [0, 1] });
  return code === 0;
}

/** The best common ancestor of two commits, or null when their histories share none. */
export async function mergeBase(repo: GitDir, a: string, b: string): Promise<string | null> {
  const { code, stdout } = await git(repo, ["merge-base", a, b], { okCodes: [0, 1] });
  return code === 0 ? stdout.trim() : null;
}

/** The id of the tree of a commit. */
export function treeOf(repo: GitDir, commit: string): Promise<string> {
  return gitText(repo, ["rev-parse", "--verify", `${commit}^{tree}`]);
}

/** Whether a branch, as a full ref, has a name that only the program gives. */
export function isNamedByUs(ref: string): boolean {
  return /^refs\/heads\/(orch|orchestrator|orch-restored)\//.test(ref);
}
