import type { Config } from "../domain/config.ts";
import { formatFinding, UserError } from "../domain/errors.ts";
import type { Plan } from "../domain/plan.ts";
import type { Workflow } from "../domain/workflow.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import { isRunnable } from "../engine/world.ts";
import { lintWorkflowFile } from "../inputs/lint.ts";
import { loadWorkflow, parsePinned, pinText } from "../inputs/workflows.ts";
import { pinWorkflow, readPinned } from "../state/pinned-workflows.ts";

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
    const pinned = readPinned(config.stateDir, plan.id, name);
    if (pinned !== undefined) return once(cache.pinned, pinned.text, () => parsePinned(pinned.text, pinned.file));
    const current = once(cache.current, name, () => currentWorkflow(config, name));
    if (typeof current === "string") return current;
    if (pin && isRunnable(plan)) pinWorkflow(config.stateDir, plan.id, name, current.text);
    return current.workflow;
  } catch (error) {
    if (error instanceof UserError) return error.hint ? `${error.message} (${error.hint})` : error.message;
    return `Workflow "${name}" cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** The workflow of this name as the search path has it now, and the text to pin. A string says why it cannot be used. Throws a UserError when there is none. */
export function currentWorkflow(config: Config, name: string): { workflow: Workflow; text: string } | string {
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
