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
  if (!hasWildcard(a)) return hasWildcard(b) ? names(b, a) || lies(prefixOf(b), a) : lies(a, b) || lies(b, a);
  if (!hasWildcard(b)) return globsOverlap(b, a);
  const [before, after] = [
    [prefixOf(a), prefixOf(b)],
    [endOf(a), endOf(b)],
  ] as const;
  const [one, other] = before;
  return (one.startsWith(other) || other.startsWith(one)) && (after[0].endsWith(after[1]) || after[1].endsWith(after[0]));
}

/** Whether a glob names a file, or everything in a folder of that name. */
function names(glob: string, path: string): boolean {
  return matchesGlob(path, glob) || matchesGlob(path, `${glob}/**`);
}

/** Whether a path is or lies in a folder. */
function lies(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function hasWildcard(glob: string): boolean {
  return /[*?[{]/.test(glob);
}

/** The folders before the first wildcard. */
function prefixOf(glob: string): string {
  return glob.slice(0, glob.search(/[*?[{]/)).replace(/[^/]*$/, "");
}

/** What has to follow the last wildcard within the file's name. */
function endOf(glob: string): string {
  return /[^*?\]}/]*$/.exec(glob)?.[0] ?? "";
}
