import { lstatSync, realpathSync } from "node:fs";
import { dirname } from "node:path";

/** Whether a folder and all above it belong to root, and nobody else may write there. */
export function isRootOnly(folder: string): boolean {
  for (let path = realpathSync(folder); ; path = dirname(path)) {
    const { uid, mode } = lstatSync(path);
    if (uid !== 0 || (mode & 0o022) !== 0) return false;
    if (path === dirname(path)) return true;
  }
}
