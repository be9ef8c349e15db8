import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildSync } from "esbuild";
import { buildProgram } from "../src/testing/built-program.ts";

/** One small textual change of a source file; `find` is there exactly once. */
export interface Change {
  file: string;
  find: string;
  replace: string;
}

/** Builds the program, changed in these places, into `dir`, with its daemon and shim loading faults.ts first; gives its cli.js. */
export function buildVariant(dir: string, changes: readonly Change[] = []): string {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "changes.json"), JSON.stringify(changes));
  const cli = buildProgram(dir, ["--changes", join(dir, "changes.json")]);
  const faults = join(dir, "faults.cjs");
  buildSync({ entryPoints: [join(import.meta.dirname, "faults.ts")], outfile: faults, bundle: true, platform: "node", format: "cjs" });
  const shim = join(dirname(cli), "executors/shim.cjs");
  writeFileSync(cli, `import ${JSON.stringify(faults)};\n${readFileSync(cli, "utf8")}`);
  writeFileSync(shim, `require(${JSON.stringify(faults)});\n${readFileSync(shim, "utf8")}`);
  return cli;
}
