import { createHash } from "node:crypto";
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../domain/config.ts";
import { formatFinding, UserError } from "../domain/errors.ts";
import type { Plan } from "../domain/plan.ts";
import type { Workflow } from "../domain/workflow.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import { isRunnable } from "../engine/world.ts";
import { lintWorkflowFile } from "../inputs/lint.ts";
import { loadWorkflow, parsePinned, pinText } from "../inputs/workflows.ts";
import { pinnedWorkflowFile, pinnedWorkflowsDir } from "../state/layout.ts";

const tools = { check: checkWorkflow };

/** What reading workflows came to: plans by the hundred share a few of them. */
export interface PlanWorkflows {
  /** By text. */
  pinned: Map<string, Workflow>;
  /** By name. */
  current: Map<string, { workflow: Workflow; text: string } | string>;
}

/**
 * The workflow that a plan's tickets run under: the text pinned with the plan, else the current one of the search
 * path, which is pinned from now on when the plan may run. A string says why there is none to use. The current text
 * changes with its file, so `cache` is good for one pass over plans.
 */
export function planWorkflow(config: Config, plan: Plan, name: string, pin: boolean, cache: PlanWorkflows): Workflow | string {
  try {
    const pinned = pinnedFile(config, plan, name);
    if (pinned !== undefined) {
      const text = readFileSync(pinned, "utf8");
      return once(cache.pinned, text, () => parsePinned(text, pinned));
    }
    const current = once(cache.current, name, () => currentWorkflow(config, name));
    if (typeof current === "string") return current;
    if (pin && isRunnable(plan)) pinWorkflow(config, plan, name, current.text);
    return current.workflow;
  } catch (error) {
    if (error instanceof UserError) return error.hint ? `${error.message} (${error.hint})` : error.message;
    return `Workflow "${name}" cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function currentWorkflow(config: Config, name: string): { workflow: Workflow; text: string } | string {
  const loaded = loadWorkflow(name, config.workflowDirs, tools);
  // A workflow whose ends are only implied is poor style, but it runs.
  const lint = lintWorkflowFile(loaded.file, config, tools).filter((finding) => finding.rule !== "no-terminal");
  const errors = lint.filter((finding) => finding.severity === "error").map(formatFinding);
  if (errors.length > 0 || !loaded.workflow) {
    return `Workflow "${name}" cannot be used: ${errors[0] ?? loaded.file}${errors.length > 1 ? ` (and ${errors.length - 1} more)` : ""}`;
  }
  return { workflow: loaded.workflow, text: pinText(loaded) };
}

function once<T>(known: Map<string, T>, key: string, make: () => T): T {
  const found = known.get(key) ?? make();
  known.set(key, found);
  return found;
}

function pinnedFile(config: Config, plan: Plan, name: string): string | undefined {
  const dir = pinnedWorkflowsDir(config.stateDir, plan.id);
  let names: string[] = [];
  try {
    names = readdirSync(dir);
  } catch {
    return undefined;
  }
  const found = names.find((file) => file.startsWith(`${name}.`) && /^[0-9a-f]{12}\.yaml$/.test(file.slice(name.length + 1)));
  return found === undefined ? undefined : join(dir, found);
}

function pinWorkflow(config: Config, plan: Plan, name: string, text: string): void {
  const sha = createHash("sha256").update(text).digest("hex").slice(0, 12);
  const file = pinnedWorkflowFile(config.stateDir, plan.id, name, sha);
  mkdirSync(pinnedWorkflowsDir(config.stateDir, plan.id), { recursive: true, mode: 0o700 });
  const temp = `${file}.tmp`;
  writeFileSync(temp, text, { mode: 0o600 });
  try {
    linkSync(temp, file);
  } finally {
    rmSync(temp, { force: true });
  }
}
