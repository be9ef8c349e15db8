import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../domain/config.ts";
import type { FlatPhase, Workflow } from "../domain/workflow.ts";
import { readTextFile } from "../inputs/read-text.ts";
import { parseYamlText } from "../inputs/yaml-text.ts";
import { type PinnedWorkflow, readPinned } from "../state/pinned-workflows.ts";

/**
 * The names of the phases that a plan's tickets walk, for counting them: the schema of workflows takes longer to load
 * than everything else a list of tickets needs. Of each phase only the id is what the file says. A string when the
 * names cannot be known without that schema.
 */
export function readPhases(config: Config, planId: string, name: string, cache: Map<string, Workflow | string>): Workflow | string {
  const pinned = pinnedOf(config, planId, name);
  // Many plans share a text.
  const key = pinned === undefined ? name : `${name}\n${pinned.text}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const ids = pinned ? idsIn(pinned.text, pinned.file, name) : firstIds(config.workflowDirs, name);
  const workflow = ids ? { name, description: "", tags: [], phases: ids.map(nameOnly) } : `The phases of workflow "${name}" are not known.`;
  cache.set(key, workflow);
  return workflow;
}

/** One that cannot be read has no phases that could be counted. */
function pinnedOf(config: Config, planId: string, name: string): PinnedWorkflow | undefined {
  try {
    return readPinned(config.stateDir, planId, name);
  } catch {
    return { file: "", text: "" };
  }
}

/** The files of a folder, first the one that is most likely the workflow's. */
function candidates(dir: string, name: string): string[] {
  const files = names(dir).filter((file) => /\.ya?ml$/.test(file) && !file.startsWith("."));
  const own = (file: string) => (file.startsWith(`${name}.`) ? 0 : 1);
  return files.toSorted((a, b) => own(a) - own(b)).map((file) => join(dir, file));
}

/** Of the first file that is the workflow's; the others are not even opened. */
function firstIds(dirs: readonly string[], name: string): string[] | undefined {
  for (const file of dirs.flatMap((dir) => candidates(dir, name))) {
    const read = readTextFile(file);
    const ids = "text" in read ? idsIn(read.text, file, name) : undefined;
    if (ids) return ids;
  }
  return undefined;
}

/** Undefined for another workflow's text, for one that cannot be read, and for one that includes others. */
function idsIn(text: string, file: string, name: string): string[] | undefined {
  const raw = parseYamlText(text, file).raw as { name?: unknown; phases?: unknown } | null | undefined;
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
