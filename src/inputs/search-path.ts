import { realpathSync, statSync } from "node:fs";
import { isAbsolute, join, sep } from "node:path";
import { UserError } from "../domain/errors.ts";

/** Why a name cannot be looked up in a search path, or undefined when it can. It must stay below the folders. */
export function nameProblem(name: string): string | undefined {
  if (name === "" || name.includes("\0")) return "it is not a file name";
  if (isAbsolute(name) || /^[A-Za-z]:/.test(name)) return "it is an absolute path";
  if (name.includes("\\")) return "it holds a backslash";
  if (name.split("/").some((part) => part === ".." || part === "." || part === ""))
    return "it leaves the folder or is not in its plain form";
  return undefined;
}

/** The file of this name in the first folder that holds it; undefined when none does. A name that leads out of the folder is a UserError. */
export function findInPath(dirs: readonly string[], name: string, kind: string): string | undefined {
  const problem = nameProblem(name);
  if (problem !== undefined) {
    throw new UserError(`The ${kind} "${name}" is refused: ${problem}.`, {
      exit: "unsafe",
      hint: `name a file inside ${dirs.join(" or ")}`,
    });
  }
  for (const dir of dirs) {
    const file = join(dir, name);
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) continue;
    if (!realpathSync(file).startsWith(realpathSync(dir) + sep)) {
      throw new UserError(`The ${kind} "${name}" is refused: ${file} is a link out of its folder.`, {
        exit: "unsafe",
        hint: "copy the file instead of linking it",
      });
    }
    return file;
  }
  return undefined;
}

/** As `findInPath`, but a name that no folder holds is a UserError that lists the folders. */
export function requireInPath(dirs: readonly string[], name: string, kind: string): string {
  const file = findInPath(dirs, name, kind);
  if (file !== undefined) return file;
  throw new UserError(`No ${kind} "${name}" in ${dirs.join(" or ")}.`, {
    exit: "notFound",
    hint: `create it in ${dirs[0]}, or correct the name`,
  });
}
