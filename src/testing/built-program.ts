import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The folder of the program that this run of the tests has built. */
    builtProgram: string;
  }
}

const root = dirname(dirname(import.meta.dirname));

/** Builds the program into `dir` as a package of its own, with these arguments for tools/build.ts; gives its cli.js. */
export function buildProgram(dir: string, args: readonly string[] = []): string {
  mkdirSync(dir, { recursive: true });
  copyFileSync(join(root, "package.json"), join(dir, "package.json"));
  for (const folder of ["workflows", "prompts", "scripts", "skills", "blueprints", "node_modules"]) {
    if (existsSync(join(root, folder))) symlinkSync(join(root, folder), join(dir, folder));
  }
  execFileSync(process.execPath, [join(root, "tools/build.ts"), "--out", join(dir, "dist"), ...args]);
  return join(dir, "dist", "cli.js");
}

/**
 * Builds the program once for all test files: started from its sources it takes three times the computing time. Not dist/,
 * which may be old, or be built anew beside the tests.
 */
export function setup({ provide }: TestProject): () => void {
  const dir = mkdtempSync(join(tmpdir(), "orch-program-"));
  buildProgram(dir);
  provide("builtProgram", dir);
  return () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
}
