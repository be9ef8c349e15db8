import { realpathSync } from "node:fs";
import { dirname, isAbsolute, relative, resolve } from "node:path";

/** Whether a path lies in one of these folders, links followed; a path that does not exist is judged by the folder it would be in. */
export function liesWithin(folders: readonly string[], path: string): boolean {
  const real = realPath(resolve(path));
  return folders.some((folder) => {
    const way = relative(realPath(folder), real);
    return way !== ".." && !way.startsWith("../") && !isAbsolute(way);
  });
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : resolve(realPath(parent), relative(parent, path));
  }
}
