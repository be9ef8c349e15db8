import { matchesGlob } from "node:path";

/** Globs over paths of the repository. A glob that names a folder means everything in it; `*` and `**` match dotfiles too. */
export interface Scope {
  allow?: string[] | undefined;
  deny?: string[] | undefined;
}

/** The paths that a phase may not change: those that `allow`, where it is given, does not name, and those that `deny` names. */
export function outsideScope(scope: Scope, paths: readonly string[]): string[] {
  const { allow, deny = [] } = scope;
  return paths.filter((path) => (allow !== undefined && !matchesAny(path, allow)) || matchesAny(path, deny));
}

function matchesAny(path: string, globs: readonly string[]): boolean {
  return globs.some((glob) => {
    const pattern = withoutLeadingDots(glob.replace(/^\.\//, "").replace(/\/$/, ""));
    const name = withoutLeadingDots(path);
    return matchesGlob(name, pattern) || matchesGlob(name, `${pattern}/**`);
  });
}

/** matchesGlob lets no wildcard match the dot that a name begins with, and a deny list must not overlook such names. */
function withoutLeadingDots(path: string): string {
  return path.replace(/(^|\/)\./g, "$1\u0001");
}
