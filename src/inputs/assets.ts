import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folders that come with the program. */
export interface Assets {
  root: string;
  workflows: string;
  prompts: string;
  scripts: string;
  skills: string;
  blueprints: string;
}

/** Where the bundled folders are. `from` is the URL of any module of the package; the default is this one. */
export function bundledAssets(from: string = import.meta.url): Assets {
  const root = packageRoot(dirname(fileURLToPath(from)));
  return {
    root,
    workflows: join(root, "workflows"),
    prompts: join(root, "prompts"),
    scripts: join(root, "scripts"),
    skills: join(root, "skills"),
    blueprints: join(root, "blueprints"),
  };
}

/** The version of this program. */
export function programVersion(): string {
  return (JSON.parse(readFileSync(join(bundledAssets().root, "package.json"), "utf8")) as { version: string }).version;
}

// Source, bundled chunks and a global install differ in how deep a module lies, but not in which package it belongs to.
function packageRoot(start: string): string {
  for (let dir = start; ; dir = dirname(dir)) {
    if (packageName(join(dir, "package.json")) === "orchestrator") return dir;
    if (dirname(dir) === dir) throw new Error(`No package.json of orchestrator in ${start} or above it`);
  }
}

function packageName(file: string): unknown {
  try {
    return (JSON.parse(readFileSync(file, "utf8")) as { name?: unknown }).name;
  } catch {
    return undefined;
  }
}

/**
 * The file of one of our own programs, e.g. "phases/checks-runner": its source when this runs from source, else the built one.
 * Bundling moves modules about, so no module may look for a program beside itself.
 */
export function programFile(name: "cli" | "phases/checks-runner" | "commands/demo-agent"): string {
  const { root } = bundledAssets();
  return import.meta.url.endsWith(".ts") ? join(root, "src", `${name}.ts`) : join(root, "dist", `${name}.js`);
}
