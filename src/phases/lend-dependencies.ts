import { lstatSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { dependencyFolders } from "../lib/dependency-folders.ts";

/** The folders of installed dependencies that a worktree has at its top. */
export function installedIn(worktree: string): string[] {
  return dependencyFolders.filter((name) => isThere(join(worktree, name)));
}

/**
 * Lets checks in a fresh worktree use what is installed in the ticket's one, by links. Without it they would fail there
 * for want of dependencies, and what fails before a change is not held against it.
 */
export function lendDependencies(from: string, to: string): void {
  for (const name of installedIn(from)) if (!isThere(join(to, name))) symlinkSync(join(from, name), join(to, name));
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
