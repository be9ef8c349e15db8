import type { Config } from "../domain/config.ts";
import type { Workflow } from "../domain/workflow.ts";
import { loadWorkflow, parsePinned } from "../inputs/workflows.ts";
import { readPinned } from "../state/pinned-workflows.ts";

/**
 * The phases that a plan's tickets walk, for showing them: the pinned workflow, else the current one. Unlike the daemon
 * this neither lints nor pins, so that a list of tickets costs little. A string says why there is none.
 */
export function readWorkflow(config: Config, planId: string, name: string, cache: Map<string, Workflow | string>): Workflow | string {
  try {
    const pinned = readPinned(config.stateDir, planId, name);
    // Many plans share a text.
    const key = pinned === undefined ? name : `${name}\n${pinned.text}`;
    const known = cache.get(key);
    if (known !== undefined) return known;
    const workflow = pinned === undefined ? current(config, name) : parsePinned(pinned.text, pinned.file);
    cache.set(key, workflow);
    return workflow;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function current(config: Config, name: string): Workflow | string {
  const { workflow, file } = loadWorkflow(name, config.workflowDirs, { check: () => [] });
  return workflow ?? `Workflow "${name}" (${file}) has errors; orchestrator workflow lint ${name} shows them.`;
}
