import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";

/** Why the worktrees of tickets must not be kept right below the folder `root`; undefined when they may. Links are followed. */
export function worktreeRootProblem(root: string, home: string): string | undefined {
  const path = canonical(root);
  const own = canonical(home);
  if (path === dirname(path)) return "it is the root of the file system";
  if (path === own) return "it is your home folder";
  if (own.startsWith(path + sep)) return "it contains your home folder";
  return undefined;
}

/** The path without links, as far as it exists. */
function canonical(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(canonical(parent), basename(absolute));
  }
}
