import { commitOf, type GitDir, gitText } from "./git.ts";
import { identityEnv, ownIdentity } from "./identity.ts";
import { isAncestor, mergeBase, treeOf } from "./refs.ts";

/**
 * Whether everything of commit `sha` is provably in one of `targets` (refs or commits; missing ones are passed over):
 * by ancestry, by an equal tree, by patches that all have an equal there (rebase), or by one commit equal to all of them (squash).
 */
export async function isMerged(repo: GitDir, sha: string, targets: string[]): Promise<boolean> {
  for (const name of targets) {
    const target = await commitOf(repo, name);
    if (target !== null && (await isMergedInto(repo, sha, target))) return true;
  }
  return false;
}

async function isMergedInto(repo: GitDir, sha: string, target: string): Promise<boolean> {
  if (await isAncestor(repo, sha, target)) return true;
  const tree = await treeOf(repo, sha);
  if (tree === (await treeOf(repo, target))) return true;
  const fork = await mergeBase(repo, sha, target);
  if (fork === null) return false;
  if (await allPatchesIn(repo, sha, target)) return true;
  const squashed = await gitText(repo, ["commit-tree", tree, "-p", fork, "-m", "squashed"], { env: await identityEnv(repo, ownIdentity) });
  return allPatchesIn(repo, squashed, target);
}

async function allPatchesIn(repo: GitDir, sha: string, target: string): Promise<boolean> {
  // Merge commits have no patch of their own and are left out by `git cherry`: a conflict resolved in one would go unseen.
  if ((await gitText(repo, ["rev-list", "--count", "--merges", `${target}..${sha}`])) !== "0") return false;
  const lines = (await gitText(repo, ["cherry", target, sha])).split("\n").filter((line) => line !== "");
  return lines.length > 0 && lines.every((line) => line.startsWith("-"));
}
