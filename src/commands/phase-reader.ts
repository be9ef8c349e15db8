import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import type { Config } from "../domain/config.ts";
import type { FlatPhase, Workflow } from "../domain/workflow.ts";
import { readTextFile } from "../inputs/read-text.ts";
import { parseYamlText } from "../inputs/yaml-text.ts";
import { pinnedWorkflowsDir } from "../state/layout.ts";

/**
 * The names of the phases that a plan's tickets walk, for counting them: the schema of workflows takes longer to load
 * than everything else a list of tickets needs. Of each phase only the id is what the file says. A string when the
 * names cannot be known without that schema.
 */
export function readPhases(config: Config, planId: string, name: string, cache: Map<string, Workflow | string>): Workflow | string {
  const pinned = pinnedFile(config, planId, name);
  const key = pinned === undefined ? name : basename(pinned);
  const known = cache.get(key);
  if (known !== undefined) return known;
  const files = pinned === undefined ? config.workflowDirs.flatMap((dir) => candidates(dir, name)) : [pinned];
  const ids = firstIds(files, name);
  const workflow = ids ? { name, description: "", tags: [], phases: ids.map(nameOnly) } : `The phases of workflow "${name}" are not known.`;
  cache.set(key, workflow);
  return workflow;
}

/** The file of the workflow that was pinned with a plan; undefined when none was. */
export function pinnedFile(config: Config, planId: string, name: string): string | undefined {
  const dir = pinnedWorkflowsDir(config.stateDir, planId);
  const found = names(dir).find((file) => file.startsWith(`${name}.`) && /^[0-9a-f]{12}\.yaml$/.test(file.slice(name.length + 1)));
  return found === undefined ? undefined : join(dir, found);
}

/** The files of a folder, first the one that is most likely the workflow's. */
function candidates(dir: string, name: string): string[] {
  const files = names(dir).filter((file) => /\.ya?ml$/.test(file) && !file.startsWith("."));
  const own = (file: string) => (file.startsWith(`${name}.`) ? 0 : 1);
  return files.toSorted((a, b) => own(a) - own(b)).map((file) => join(dir, file));
}

/** Of the first file that is the workflow's; the others are not even opened. */
function firstIds(files: readonly string[], name: string): string[] | undefined {
  for (const file of files) {
    const ids = phaseIds(file, name);
    if (ids) return ids;
  }
  return undefined;
}

/** Undefined for another workflow's file, for one that cannot be read, and for one that includes others. */
function phaseIds(file: string, name: string): string[] | undefined {
  const read = readTextFile(file);
  const raw = ("text" in read ? parseYamlText(read.text, file).raw : undefined) as { name?: unknown; phases?: unknown } | null | undefined;
  if (raw?.name !== name || !Array.isArray(raw.phases)) return undefined;
  const phases = raw.phases as ({ id?: unknown; type?: unknown } | null)[];
  const isPlain = phases.every((phase) => typeof phase?.id === "string" && phase.type !== "workflow");
  return isPlain ? phases.map((phase) => String(phase?.id)) : undefined;
}

function nameOnly(id: string): FlatPhase {
  return { id, type: "terminal", notify: false };
}

function names(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
