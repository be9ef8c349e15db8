import { type Finding, type Problem, suggestion } from "../domain/errors.ts";
import {
  type FlatPhase,
  type Phase,
  PhaseId,
  type PhaseOf,
  resumedPhase,
  resumePrefix,
  retryEdge,
  type Workflow,
  type WorkflowFile,
} from "../domain/workflow.ts";

/** Workflows may include workflows this deep. */
const maxDepth = 5;

/** A workflow file as somebody found it: `value` is there when its schema holds. */
export interface Included {
  file: string;
  value: WorkflowFile | undefined;
  findings: Finding[];
}

export interface Expanded {
  workflow: Workflow;
  /** Problems with including, with paths inside the outermost file. */
  problems: Problem[];
  /** Findings of included files that are broken. */
  broken: Finding[][];
}

type Path = (string | number)[];
type Include = PhaseOf<"workflow">;

/** True when a phase of the file stands for another workflow. */
export function includesOthers(file: WorkflowFile): boolean {
  return file.phases.some((phase) => phase.type === "workflow");
}

/**
 * Replaces every `workflow` phase by the phases of the workflow it names. Their ids become `<outer>.<inner>`; what ended
 * the inner workflow goes on with the outer phase's edges. The first phase of an included workflow is its entry.
 */
export function expandWorkflow(file: WorkflowFile, find: (name: string) => Included | undefined): Expanded {
  const problems: Problem[] = [];
  const broken: Finding[][] = [];
  const phases = expand(file, file.params, [file.name], undefined);
  problems.push(...collisions(file, phases));
  return { workflow: { name: file.name, description: file.description, tags: file.tags, phases }, problems, broken };

  function expand(current: WorkflowFile, params: Record<string, string>, chain: string[], top: number | undefined): FlatPhase[] {
    const entries = new Map<string, string>();
    const flat = current.phases.flatMap((phase, i): FlatPhase[] => {
      if (phase.type !== "workflow") return [withParams(phase, params)];
      const inner = include(phase, chain, ["phases", top ?? i], top ?? i);
      if (inner[0]) entries.set(phase.id, inner[0].id);
      return inner;
    });
    // An edge to the including phase means the first phase that takes its place.
    return flat.map((phase) => redirected(phase, (target) => entries.get(target) ?? target));
  }

  function include(phase: Include, chain: string[], path: Path, top: number): FlatPhase[] {
    const problem = (rule: string, field: string, message: string, fix: string): FlatPhase[] => {
      problems.push({ severity: "error", rule, path: [...path, field], message, fix });
      return [];
    };
    const way = [...chain, phase.workflow];
    if (chain.includes(phase.workflow)) {
      return problem("recursion", "workflow", `the workflow includes itself: ${way.join(" → ")}`, "remove one of the includes");
    }
    if (chain.length > maxDepth) {
      return problem("include-depth", "workflow", `includes go deeper than ${maxDepth}: ${way.join(" → ")}`, "flatten the workflows");
    }
    const found = find(phase.workflow);
    if (!found)
      return problem("unknown-workflow", "workflow", `there is no workflow "${phase.workflow}"`, "correct the name, or create it");
    if (!found.value) {
      broken.push(found.findings);
      return problem("broken-include", "workflow", `the workflow "${phase.workflow}" in ${found.file} is broken`, "correct that file");
    }
    for (const [name, value] of Object.entries(phase.with)) {
      if (!Object.hasOwn(found.value.params, name)) {
        const known = Object.keys(found.value.params);
        const message = `"${phase.workflow}" has no parameter "${name}"${suggestion(name, known)}`;
        problem("unknown-param", "with", message, `use one of ${known.join(", ") || "(it has none)"}, or add it to params there`);
      }
      if (value.includes("{{"))
        problem("template-in-with", "with", `the value of "${name}" is plain text, not a template`, "write the value itself");
    }
    if (found.value.phases[0]?.type === "terminal") {
      return problem(
        "empty-include",
        "workflow",
        `"${phase.workflow}" begins with a terminal, so it does nothing`,
        "include another workflow",
      );
    }
    const inner = expand(found.value, { ...found.value.params, ...phase.with }, way, top);
    const embedded = embed(phase, inner);
    const long = embedded.find(({ id }) => !PhaseId.safeParse(id).success);
    if (long) return problem("long-id", "id", `the expanded id "${long.id}" is longer than 64 characters`, "shorten the ids");
    return embedded;
  }
}

// An outer id with a dot may be what an expanded inner id becomes; twins inside one file are the graph's own rule.
function collisions(file: WorkflowFile, phases: FlatPhase[]): Problem[] {
  const seen = new Set<string>();
  return phases.flatMap(({ id }): Problem[] => {
    if (!seen.has(id)) {
      seen.add(id);
      return [];
    }
    const i = file.phases.findIndex((phase) => phase.type === "workflow" && id.startsWith(`${phase.id}.`));
    if (i < 0) return [];
    const message = `expanding this phase gives a second phase "${id}"`;
    return [{ severity: "error", rule: "duplicate-id", path: ["phases", i, "id"], message, fix: "rename one of the two phases" }];
  });
}

function withParams(phase: Exclude<Phase, Include>, params: Record<string, string>): FlatPhase {
  return Object.keys(params).length === 0 ? phase : { ...phase, params };
}

/** The inner phases with prefixed ids, and the outer phase's edges where the inner workflow ended. */
function embed(outer: Include, inner: FlatPhase[]): FlatPhase[] {
  const prefix = `${outer.id}.`;
  const exits = new Map<string, string>();
  for (const phase of inner) {
    const exit = phase.type === "terminal" ? (phase.notify ? outer.onFailure : outer.onSuccess) : undefined;
    // Without an edge of the outer phase the terminal stays: reaching it ends the ticket as it says.
    if (exit) exits.set(phase.id, exit);
  }
  return inner
    .filter((phase) => !exits.has(phase.id))
    .map((phase) => {
      const named = { ...redirected(phase, (target) => exits.get(target) ?? prefix + target), id: prefix + phase.id };
      const resumed = named.type === "agent" ? resumedPhase(named.session) : undefined;
      if (named.type === "agent" && resumed !== undefined) named.session = `${resumePrefix}${prefix}${resumed}`;
      if (named.type === "terminal") return named;
      if (!named.onSuccess && outer.onSuccess) named.onSuccess = outer.onSuccess;
      if (named.type !== "wait" && !named.onFailure && outer.onFailure) named.onFailure = outer.onFailure;
      return named;
    });
}

function redirected(phase: FlatPhase, to: (target: string) => string): FlatPhase {
  if (phase.type === "terminal") return phase;
  const edge = (target: string) => (target === retryEdge ? target : to(target));
  const copy = { ...phase };
  if (copy.onSuccess) copy.onSuccess = edge(copy.onSuccess);
  if (copy.type === "wait") return copy;
  if (copy.onFailure) copy.onFailure = edge(copy.onFailure);
  if (copy.on) copy.on = Object.fromEntries(Object.entries(copy.on).map(([category, target]) => [category, edge(target)]));
  return copy;
}
