import { createHash } from "node:crypto";
import { join } from "node:path";
import { withFileLock } from "../lib/file-lock.ts";

const queues = new Map<string, Promise<unknown>>();

/**
 * Runs `work` while nobody else of ours works on the same repository, in this process or another, and returns its result.
 * Worktree and branch registration goes through here: git's own locking fails up to half of parallel calls.
 * Not reentrant. Throws when another process holds the lock for more than five minutes.
 */
export function withRepoLock<T>(repo: { commonDir: string }, lockDir: string, work: () => Promise<T>): Promise<T> {
  return withLock(lockDir, repo.commonDir, work);
}

/** The same for one path, such as that of a worktree. Take it before the repository's lock, never after. */
export async function withLock<T>(lockDir: string, key: string, work: () => Promise<T>): Promise<T> {
  const name = createHash("sha256").update(key).digest("hex").slice(0, 32);
  const mine = (queues.get(key) ?? Promise.resolve()).then(() => withFileLock(join(lockDir, `${name}.lock`), work, { timeoutMs: 300_000 }));
  const settled = mine.catch(() => undefined);
  queues.set(key, settled);
  try {
    return await mine;
  } finally {
    if (queues.get(key) === settled) queues.delete(key);
  }
}
