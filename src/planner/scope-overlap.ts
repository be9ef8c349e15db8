import { matchesGlob } from "node:path";

/** Two scopes (globs relative to one repository) that can name the same file: the first such pair, or undefined. */
export function scopeOverlap(a: readonly string[], b: readonly string[]): [string, string] | undefined {
  for (const one of a) for (const other of b) if (globsOverlap(normal(one), normal(other))) return [one, other];
  return undefined;
}

function normal(glob: string): string {
  return glob.replace(/^\.?\//, "").replace(/\/(\*\*)?$/, "");
}

/** Of two globs that both hold wildcards this may say yes where the truth is no: by what comes before and after their wildcards. */
function globsOverlap(a: string, b: string): boolean {
  if (a === b) return true;
  const [one, other] = [literalOf(a), literalOf(b)];
  if (!one.startsWith(other) && !other.startsWith(one)) return false;
  if (!hasWildcard(a)) return hasWildcard(b) ? names(b, a) || reachesInto(b, a) : lies(a, b) || lies(b, a);
  if (!hasWildcard(b)) return globsOverlap(b, a);
  return endOf(a).endsWith(endOf(b)) || endOf(b).endsWith(endOf(a));
}

/** Whether a glob names a file, or everything in a folder of that name. */
function names(glob: string, path: string): boolean {
  return matchesGlob(path, glob) || matchesGlob(path, `${glob}/**`);
}

/** Whether a glob names something in a folder. `**` at its front says too little of where, and what has an ending is taken for a file. */
function reachesInto(glob: string, folder: string): boolean {
  if (lies(prefixOf(glob), folder)) return true;
  const steps = glob.split("/").slice(0, folder.split("/").length);
  return !/\.[^/]*$/.test(folder) && !steps.includes("**") && steps.length < glob.split("/").length && matchesGlob(folder, steps.join("/"));
}

/** Whether a path is or lies in a folder. */
function lies(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function hasWildcard(glob: string): boolean {
  return /[*?[{]/.test(glob);
}

/** What every file that a glob names begins with. */
function literalOf(glob: string): string {
  return /^[^*?[{]*/.exec(glob)?.[0] ?? "";
}

/** The folders before the first wildcard. */
function prefixOf(glob: string): string {
  return literalOf(glob).replace(/[^/]*$/, "");
}

/** What has to follow the last wildcard within the file's name. */
function endOf(glob: string): string {
  return /[^*?\]}/]*$/.exec(glob)?.[0] ?? "";
}
