import type { Config } from "../domain/config.ts";
import type { Plan } from "../domain/plan.ts";
import type { PhaseOf } from "../domain/workflow.ts";
import { git, type Repo } from "../git/git.ts";
import type { CheckOrder } from "./check-report.ts";

/** Scripts of a package.json that are taken for checks, in the order they run. */
const packageScripts = ["lint", "typecheck", "test"];

/**
 * The checks that apply to a commit: the phase's own, else the plan's, else the configuration's, else the lint,
 * typecheck and test scripts of the package.json in the commit. Empty when there are none anywhere.
 */
export async function checkCommands(
  phase: PhaseOf<"checks" | "merge">,
  plan: Plan,
  config: Config,
  repo: Repo,
  commit: string,
): Promise<CheckOrder["commands"]> {
  const named = phase.commands ?? plan.checks ?? config.checks;
  if (named)
    return Object.entries(named).map(([name, command]) => ({
      name,
      argv: typeof command === "string" ? ["bash", "-c", command] : command,
    }));
  const { stdout, code } = await git(repo, ["cat-file", "blob", `${commit}:package.json`], { okCodes: [0, 128] });
  if (code !== 0) return [];
  let scripts: Record<string, unknown> = {};
  try {
    scripts = Object(JSON.parse(stdout)).scripts ?? {};
  } catch {
    return []; // not for us to judge: the project's own tools will say so
  }
  const lockfiles = (await git(repo, ["ls-tree", "--name-only", commit])).stdout.split("\n");
  const runner = lockfiles.includes("pnpm-lock.yaml") ? "pnpm" : lockfiles.includes("yarn.lock") ? "yarn" : "npm";
  // npm init writes a test script that only says that there is none.
  const real = (name: string) => typeof scripts[name] === "string" && !String(scripts[name]).includes("no test specified");
  return packageScripts.filter(real).map((name) => ({ name, argv: [runner, "run", name] }));
}
