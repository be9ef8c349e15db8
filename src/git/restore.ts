import { UserError } from "../domain/errors.ts";
import type { Instant } from "../domain/time.ts";
import { commitOf, type Repo, shellWord } from "./git.ts";
import { parseRecoveryRef, readRecovery } from "./recovery.ts";
import { ensureWorktree, type Worktree } from "./worktree.ts";
import { resetTo, resetToFiles } from "./worktree-removal.ts";

/**
 * Brings saved state back: a worktree at `path` on `branch` (made where missing) that stands at the saved commit, with the saved
 * changes as uncommitted ones. What is there already is saved first, under the same plan and ticket; `saved` names those refs.
 * Throws UserError when `ref` is no recovery ref.
 */
export async function restore(
  repo: Repo,
  ref: string,
  options: { path: string; branch: string; lockDir: string; now: Instant },
): Promise<{ worktree: Worktree; saved: string[] }> {
  const key = parseRecoveryRef(ref);
  const sha = key ? await commitOf(repo, ref) : null;
  if (!key || sha === null) {
    throw new UserError(`There is no saved state ${ref} in ${repo.path}.`, {
      hint: `git -C ${shellWord(repo.path)} for-each-ref refs/orchestrator/recovery lists them`,
      exit: "notFound",
    });
  }
  const { head, files } = await readRecovery(repo, sha);
  const { created: _, ...wt } = await ensureWorktree({
    repo,
    lockDir: options.lockDir,
    path: options.path,
    branch: options.branch,
    startSha: head,
    recovery: { planId: key.planId, ticketId: key.ticketId },
  });
  const owner = { planId: key.planId, ticketId: key.ticketId, now: options.now };
  const { saved } = files === null ? await resetTo(wt, head, owner) : await resetToFiles(wt, head, files, owner);
  return { worktree: { ...wt, head }, saved };
}
