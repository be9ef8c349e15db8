import { join } from "node:path";
import { openRepo } from "./git.ts";
import { isolateGit, makeRepo, userGit } from "./repo-fixture.ts";
import { ensureWorktree } from "./worktree.ts";
import { removeWorktree } from "./worktree-removal.ts";

export const now = "2026-11-21T12:00:00.000Z";
export const recovery = { planId: "plan", ticketId: "T1" };

/** Makes a repository in `dir` with one commit, `start`, on main, and what a test needs to make and remove worktrees of its tickets. */
export async function worktreeFixture(dir: string) {
  isolateGit(dir);
  const path = makeRepo(join(dir, "user's repo – ü"));
  const repo = await openRepo(path);
  const start = userGit(path, "rev-parse", "main");
  const place = (ticketId = "T1") => ({
    repo,
    lockDir: join(dir, "locks"),
    path: join(dir, "work trees – ß/plan", ticketId),
    branch: `orch/plan/${ticketId}`,
  });
  return {
    path,
    repo,
    start,
    place,
    ensure: (ticketId = "T1") => ensureWorktree({ ...place(ticketId), startSha: start, recovery: { ...recovery, ticketId } }),
    remove: (mergedInto: string[] = ["main"], ticketId = "T1") =>
      removeWorktree({ ...place(ticketId), mergedInto, recovery: { ...recovery, ticketId }, now }),
    registered: () => userGit(path, "worktree", "list", "--porcelain").match(/^worktree .*$/gm)?.length,
  };
}
