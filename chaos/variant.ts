import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildSync } from "esbuild";

const root = dirname(import.meta.dirname);

/** One small textual change of a source file; `find` is there exactly once. */
export interface Change {
  file: string;
  find: string;
  replace: string;
}

/** Builds the program, changed in these places, into `dir`, with its daemon and shim loading faults.ts first; gives its cli.js. */
export function buildVariant(dir: string, changes: readonly Change[] = []): string {
  const dist = join(dir, "dist");
  mkdirSync(dir, { recursive: true });
  copyFileSync(join(root, "package.json"), join(dir, "package.json"));
  for (const folder of ["workflows", "prompts", "scripts"]) symlinkSync(join(root, folder), join(dir, folder));
  writeFileSync(join(dir, "changes.json"), JSON.stringify(changes));
  execFileSync(process.execPath, [join(root, "tools/build.ts"), "--out", dist, "--changes", join(dir, "changes.json")]);
  const faults = join(dir, "faults.cjs");
  buildSync({ entryPoints: [join(import.meta.dirname, "faults.ts")], outfile: faults, bundle: true, platform: "node", format: "cjs" });
  const cli = join(dist, "cli.js");
  const shim = join(dist, "executors/shim.cjs");
  writeFileSync(cli, `import ${JSON.stringify(faults)};\n${readFileSync(cli, "utf8")}`);
  writeFileSync(shim, `require(${JSON.stringify(faults)});\n${readFileSync(shim, "utf8")}`);
  return cli;
}
