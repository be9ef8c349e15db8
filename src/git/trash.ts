/**
 * Trees that are to go are renamed first, which takes no time, and deleted later in the background. This module is the only one
 * that deletes them.
 */
import { randomBytes } from "node:crypto";
import { lstat, readdir, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { execa } from "execa";

/** "~" is in no ticket id, so trash is never taken for the worktree of a ticket, nor that of one ticket for that of another. */
const trashPattern = /^\.trash-.+~\d{8}T\d{9}Z-[0-9a-f]+$/;

/** Gives a folder that nobody needs any more a name beside `path` under which sweepTrash() finds it, and returns that. */
export async function moveToTrash(folder: string, path: string, now: string): Promise<string> {
  const stamp = now.replaceAll(/[-:.]/g, "");
  const trash = join(dirname(path), `.trash-${basename(path)}~${stamp}-${randomBytes(4).toString("hex")}`);
  await rename(folder, trash);
  return trash;
}

/** The folders right below `root` that moveToTrash() put there; none when there is no such root. Links are none. */
export async function trashIn(root: string): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory() && trashPattern.test(entry.name)).map((entry) => join(root, entry.name));
}

/**
 * Deletes one folder that trashIn() found, links in it unfollowed, at the lowest priority and in a process of its own, so that nothing
 * else waits for the disk. Stops early with `signal`; what is left is found again. Throws when it cannot be deleted.
 */
export async function deleteTrash(trash: string, signal?: AbortSignal): Promise<void> {
  const info = await lstat(trash).catch(() => undefined);
  if (!info) return;
  if (!info.isDirectory() || !trashPattern.test(basename(trash))) throw new Error(`${trash} is no trash of ours`);
  const options = { stdin: "ignore", stdout: "ignore", ...(signal ? { cancelSignal: signal } : {}) } as const;
  const remove = () => execa("nice", ["-n", "19", "rm", "-rf", "--", trash], { ...options, reject: false });
  const first = await remove();
  if (!first.failed || first.isCanceled) return;
  // Some tools write-protect the folders of their caches.
  await execa("chmod", ["-R", "u+rwx", "--", trash], { ...options, reject: false });
  const second = await remove();
  if (second.failed && !second.isCanceled) throw new Error(`${trash} could not be deleted: ${second.stderr}`);
}
