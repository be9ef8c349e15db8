import { lstatSync, symlinkSync } from "node:fs";
import { join } from "node:path";

/** Where package managers install what a project needs; git ignores these folders, so a fresh worktree has none of them. */
const folders = ["node_modules", ".venv", "venv"];

/** The folders of installed dependencies that a worktree has at its top. */
export function installedIn(worktree: string): string[] {
  return folders.filter((name) => isThere(join(worktree, name)));
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
