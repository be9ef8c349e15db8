import { realpathSync } from "node:fs";
import { dirname, isAbsolute, relative, resolve } from "node:path";

/** What a session may read. */
export interface Readable {
  /** With all that is in them. */
  folders: readonly string[];
  /** A folder around repositories: without what is hidden in it, such as keys and credentials in a home folder. */
  workspace?: string | undefined;
}

/** Whether a session may read a path, links followed; a path that does not exist is judged by the folder it would be in. */
export function mayRead({ folders, workspace }: Readable, path: string): boolean {
  const real = realPath(resolve(path));
  if (folders.some((folder) => wayInto(folder, real) !== undefined)) return true;
  const way = workspace === undefined ? undefined : wayInto(workspace, real);
  return way?.split("/").every((name) => !name.startsWith(".")) === true;
}

/** What a planner is told that asks for a file beyond what it may read. */
export function refusal({ folders, workspace }: Readable, path: string): string {
  const open = [...(workspace === undefined ? [] : [`${workspace} (but nothing hidden in it)`]), ...folders];
  return `${path} lies outside of what this session may read: ${open.join(", ")}`;
}

/** The path from a folder to what lies in it; undefined for what lies elsewhere. */
function wayInto(folder: string, real: string): string | undefined {
  const way = relative(realPath(folder), real);
  return way === ".." || way.startsWith("../") || isAbsolute(way) ? undefined : way;
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : resolve(realPath(parent), relative(parent, path));
  }
}
