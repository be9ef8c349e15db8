import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { stringify } from "yaml";
import { type Finding, type Problem, suggestion, UserError } from "../domain/errors.ts";
import { type Phase, type Workflow, WorkflowFile } from "../domain/workflow.ts";
import { expandWorkflow, includesOthers } from "./expand-workflow.ts";
import { findingsError, parseYaml, readYamlFile, sortFindings, type YamlFile } from "./yaml-file.ts";

/** The rules of the graph, which are the engine's. */
export interface WorkflowTools {
  check(workflow: { phases: readonly Phase[] }): Problem[];
}

/** A workflow that was found by name. `workflow` is there when no finding is an error. */
export interface LoadedWorkflow {
  name: string;
  file: string;
  text: string;
  /** Without `workflow` phases: they are expanded. */
  workflow: Workflow | undefined;
  /** Files of the workflows that are included, at any depth. */
  includes: string[];
  findings: Finding[];
}

/** One line of the list of workflows. Broken ones are listed too. */
export interface ListedWorkflow {
  name: string;
  description: string;
  tags: string[];
  file: string;
  /** Files of lower precedence that this one stands in front of. */
  shadows: string[];
  findings: Finding[];
}

type Source = YamlFile<WorkflowFile> & { name: string };

/** Every workflow of the search path, by name. A broken file has findings and harms no other. */
export function listWorkflows(dirs: readonly string[], tools: WorkflowTools): ListedWorkflow[] {
  const listed = new Map<string, ListedWorkflow>();
  for (const dir of dirs) {
    const sources = sourcesOf(dir);
    for (const source of sources) {
      const known = listed.get(source.name);
      if (known) {
        known.shadows.push(source.file);
        continue;
      }
      const { findings } = loadSource(source, dirs, tools);
      const { description, tags } = source.value ?? { description: "", tags: [] };
      listed.set(source.name, { name: source.name, description, tags, file: source.file, shadows: [], findings });
    }
  }
  return [...listed.values()].toSorted((a, b) => a.name.localeCompare(b.name));
}

/** The workflow of this name from the first folder that has it. An unknown name is a UserError "notFound". */
export function loadWorkflow(name: string, dirs: readonly string[], tools: WorkflowTools): LoadedWorkflow {
  const source = findSource(name, dirs);
  if (source) return loadSource(source, dirs, tools);
  const names = dirs.flatMap((dir) => sourcesOf(dir).map((s) => s.name));
  throw new UserError(`There is no workflow "${name}"${suggestion(name, names)}.`, {
    exit: "notFound",
    hint: names.length === 0 ? `none is in ${dirs.join(" or ")}` : `known: ${[...new Set(names)].toSorted().join(", ")}`,
  });
}

/** As `loadWorkflow` for one file, wherever it lies; workflows that it includes come from `dirs`. */
export function loadWorkflowFile(file: string, dirs: readonly string[], tools: WorkflowTools): LoadedWorkflow {
  return loadSource(named(readYamlFile(file, WorkflowFile)), dirs, tools);
}

/** The text to keep with a plan: the file as it is, or the expanded workflow when it includes others. UserError when it is broken. */
export function pinText(loaded: LoadedWorkflow): string {
  const { workflow, text, file, includes, findings } = loaded;
  if (workflow === undefined) throw findingsError(`The workflow ${file} is not usable:`, findings);
  if (includes.length === 0) return text;
  const head = `# ${basename(file)} with the workflows it includes, as they were when this plan started.\n`;
  return head + stringify(workflow, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** The workflow of a text that `pinText` gave. UserError "invalid" when the text was changed so that it is none. */
export function parsePinned(text: string, file: string): Workflow {
  // Only expanded texts carry `params` in their phases; files of people have them at the top.
  const yaml = parseYaml(text, file, WorkflowFile, liftParams);
  if (yaml.value === undefined || includesOthers(yaml.value)) {
    throw findingsError(`The pinned workflow ${file} is not usable:`, yaml.findings, "restore the file; tickets of this plan run under it");
  }
  const workflow = expandWorkflow(yaml.value, () => undefined).workflow;
  const params = phaseParams(yaml.raw);
  const phases = workflow.phases.map((phase, i) => (params[i] ? { ...phase, params: params[i] } : phase));
  return { ...workflow, phases };
}

function loadSource(source: Source, dirs: readonly string[], tools: WorkflowTools): LoadedWorkflow {
  const { name, file, text, value } = source;
  const findings = [...source.findings, ...twinFindings(source)];
  const includes: string[] = [];
  if (value === undefined) findings.push(...edgesOfBroken(source, tools));
  if (value === undefined) return { name, file, text, workflow: undefined, includes, findings: sortFindings(findings) };
  findings.push(...tools.check(value).map(source.place));
  const expanded = expandWorkflow(value, (included) => {
    const found = findSource(included, dirs);
    if (found && !includes.includes(found.file)) includes.push(found.file);
    return found;
  });
  findings.push(...expanded.problems.map(source.place));
  for (const inner of expanded.broken) findings.push(...inner);
  const usable = findings.every((f) => f.severity !== "error");
  return { name, file, text, workflow: usable ? expanded.workflow : undefined, includes, findings: sortFindings(findings) };
}

// A wrong type in one phase is no reason to hide that an edge of another leads nowhere.
function edgesOfBroken({ raw, place }: Source, tools: WorkflowTools): Finding[] {
  const phases = (raw as { phases?: unknown } | null | undefined)?.phases;
  if (!Array.isArray(phases)) return [];
  const rough = phases.map((phase: Record<string, unknown> | null, i) => {
    const text = (key: string) => (typeof phase?.[key] === "string" ? phase[key] : undefined);
    // What has no usable id gets one that no edge can name, so that the places of the others stay right.
    return { id: text("id") ?? `#${i}`, type: "script", maxRetries: 1, onSuccess: text("onSuccess"), onFailure: text("onFailure") };
  });
  const certain = new Set(["dangling-edge", "duplicate-id", "reserved-id", "reserved-edge"]);
  return tools
    .check({ phases: rough as unknown as Phase[] })
    .filter((problem) => certain.has(problem.rule))
    .map(place);
}

function findSource(name: string, dirs: readonly string[]): Source | undefined {
  for (const dir of dirs) {
    const found = sourcesOf(dir).find((source) => source.name === name);
    if (found) return found;
  }
  return undefined;
}

// The folder holds a dozen small files, and people change them at any time: reading them again is right and cheap.
function sourcesOf(dir: string): Source[] {
  return workflowFiles(dir).map((file) => named(readYamlFile(file, WorkflowFile)));
}

function workflowFiles(dir: string): string[] {
  try {
    return readdirSync(dir)
      .filter((name) => /\.ya?ml$/.test(name) && !name.startsWith("."))
      .toSorted()
      .map((name) => join(dir, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new UserError(`The workflow folder ${dir} cannot be read (${(error as NodeJS.ErrnoException).code}).`, {
      hint: "check its permissions",
    });
  }
}

// A file too broken to say its name is known by its file name: it must not make way silently for a bundled one.
function named(yaml: YamlFile<WorkflowFile>): Source {
  const raw = yaml.raw as { name?: unknown } | null | undefined;
  const name = typeof raw?.name === "string" ? raw.name : basename(yaml.file).replace(/\.ya?ml$/, "");
  return { ...yaml, name };
}

function twinFindings(source: Source): Finding[] {
  const folder = join(source.file, "..");
  const files = sourcesOf(folder)
    .filter((other) => other.name === source.name)
    .map((other) => other.file);
  const others = files.filter((file) => file !== source.file);
  if (others.length === 0) return [];
  const message = `the workflow "${source.name}" is defined twice in this folder: ${files.map((file) => basename(file)).join(" and ")}; ${basename(files[0] ?? "")} is used`;
  return [
    source.place({ severity: "error", rule: "duplicate-workflow", path: ["name"], message, fix: "give one of the files another name" }),
  ];
}

function phaseParams(raw: unknown): (Record<string, string> | undefined)[] {
  const phases = (raw as { phases?: unknown } | undefined)?.phases;
  return Array.isArray(phases) ? phases.map((phase: { params?: Record<string, string> } | null) => phase?.params) : [];
}

function liftParams(raw: unknown): unknown {
  const { phases, ...rest } = (raw ?? {}) as { phases?: unknown };
  if (!Array.isArray(phases)) return raw;
  return { ...rest, phases: phases.map((phase) => (typeof phase === "object" && phase !== null ? withoutParams(phase) : phase)) };
}

function withoutParams({ params: _, ...phase }: { params?: unknown }): unknown {
  return phase;
}
