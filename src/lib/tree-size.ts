import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

/** Bytes that a file or folder takes on the disk, links unfollowed; 0 when it is not there. What cannot be read is not counted. */
export async function treeSize(path: string): Promise<number> {
  const info = await lstat(path).catch(() => undefined);
  if (!info) return 0;
  const own = info.blocks * 512;
  if (!info.isDirectory()) return own;
  let sum = own;
  for (const name of await readdir(path).catch(() => [])) sum += await treeSize(join(path, name));
  return sum;
}
