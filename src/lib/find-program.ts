import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";

/**
 * Where a program is that is named as in a shell: by a path, which counts from `cwd`, or by a name that is looked up on PATH.
 * undefined: nowhere.
 */
export function findProgram(command: string, env: Readonly<Record<string, string | undefined>>, cwd = "."): string | undefined {
  if (command.startsWith("~/")) return executable(join(env.HOME || homedir(), command.slice(2)));
  if (command.includes("/")) return executable(resolve(cwd, command));
  for (const dir of (env.PATH ?? "").split(delimiter)) {
    const found = dir === "" ? undefined : executable(resolve(cwd, dir, command));
    if (found) return found;
  }
  return undefined;
}

function executable(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile() ? path : undefined;
  } catch {
    return undefined;
  }
}
