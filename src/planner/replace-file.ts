import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Gives a file this text, for its owner alone; whoever reads it meanwhile finds the whole of the old or of the new one. Throws system errors. */
export function replaceFile(file: string, text: string): void {
  const fresh = join(dirname(file), `.${basename(file)}.${process.pid}.new`);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(fresh, text, { mode: 0o600 });
  renameSync(fresh, file);
}
