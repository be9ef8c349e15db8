import { statfsSync } from "node:fs";
import { dirname } from "node:path";

const MiB = 1024 * 1024;

/** Says which of these folders has less free space than `minFreeMiB`, and how much; undefined when all have enough. 0 asks for none. */
export function spaceProblem(folders: readonly string[], minFreeMiB: number): string | undefined {
  for (const folder of folders) {
    const free = freeMiB(folder);
    if (free !== undefined && free < minFreeMiB)
      return `only ${Math.floor(free)} MiB are free below ${folder} (minFreeMiB is ${minFreeMiB})`;
  }
  return undefined;
}

/** Free space for this user below a folder, or below the nearest parent that exists; undefined when the system does not tell. */
function freeMiB(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return (bavail * bsize) / MiB;
  } catch (error) {
    const parent = dirname(folder);
    return (error as NodeJS.ErrnoException).code === "ENOENT" && parent !== folder ? freeMiB(parent) : undefined;
  }
}
