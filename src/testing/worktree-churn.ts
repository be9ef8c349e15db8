/**
 * A program that makes worktrees, leaves files in them and removes them, over and over, until it kills itself at a random instant:
 * `worktree-churn.ts <repository> <folder> <lock folder> <name>`.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { commitOf, openRepo } from "../git/git.ts";
import { ensureWorktree } from "../git/worktree.ts";
import { removeWorktree } from "../git/worktree-removal.ts";

const [repoPath = "", root = "", lockDir = "", name = ""] = process.argv.slice(2);
const repo = await openRepo(repoPath);
const startSha = (await commitOf(repo, "main")) ?? "";
for (let n = 0; ; n++) {
  const ticketId = `${name}-${n}`;
  const place = { repo, lockDir, path: join(root, ticketId), branch: `orch/plan/${ticketId}`, recovery: { planId: "plan", ticketId } };
  await ensureWorktree({ ...place, startSha, reuse: true });
  if (n === 0) setTimeout(() => process.kill(process.pid, "SIGKILL"), 1500 * Math.random());
  writeFileSync(join(place.path, `of-${ticketId}`), ticketId);
  writeFileSync(join(place.path, "a.txt"), ticketId);
  await removeWorktree({ ...place, mergedInto: ["main"], now: new Date().toISOString(), park: 2 });
}
