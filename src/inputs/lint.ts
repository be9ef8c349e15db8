import { didYouMean, type Finding, type Problem } from "../domain/errors.ts";
import { Plan } from "../domain/plan.ts";
import { resolveTicket, TicketFile } from "../domain/ticket.ts";
import { type FlatPhase, type Phase, retryEdge, type Workflow, WorkflowFile } from "../domain/workflow.ts";
import { schemaType } from "../lib/schema-type.ts";
import {
  describeVariables,
  readTemplate,
  renderPrompt,
  renderString,
  templateError,
  templateVariables,
  type Variables,
  valueAt,
} from "./prompts.ts";
import { findInPath, nameProblem } from "./search-path.ts";
import { skillProblems } from "./skills.ts";
import { type References, templateReferences } from "./template-references.ts";
import { loadWorkflowFile, type WorkflowTools } from "./workflows.ts";
import { parseYaml, sortFindings } from "./yaml-file.ts";

export interface LintDirs {
  workflowDirs: readonly string[];
  promptDirs: readonly string[];
  scriptDirs: readonly string[];
  skillsDirs: readonly string[];
}

type Path = (string | number)[];
type Report = (problem: Problem) => void;

/** Everything that can be known to be wrong with a workflow file before a ticket runs under it. Never throws for its content. */
export function lintWorkflowFile(file: string, dirs: LintDirs, tools: WorkflowTools): Finding[] {
  const loaded = loadWorkflowFile(file, dirs.workflowDirs, tools);
  const yaml = parseYaml(loaded.text, file, WorkflowFile);
  if (yaml.value === undefined) return loaded.findings;
  const { phases } = yaml.value;
  const findings = loaded.findings.map((f) => strictEnd(f, phases));
  const report: Report = (problem) => findings.push(yaml.place(problem));
  const captured = capturedBefore(loaded.workflow ?? { ...yaml.value, phases: phases.filter((p) => p.type !== "workflow") });
  for (const [i, phase] of phases.entries()) {
    const params = yaml.value.params;
    lintPhase(phase, ["phases", i], dirs, samples(phase, params, captured.get(phase.id) ?? nothing), report);
  }
  return sortFindings(findings);
}

// A ticket may run without any terminal phase; whoever writes a workflow should still say where it ends.
function strictEnd(finding: Finding, phases: Phase[]): Finding {
  const none = finding.rule === "no-terminal" && phases.every((phase) => phase.type !== "terminal" && phase.type !== "workflow");
  return none ? { ...finding, severity: "error", message: "the workflow has no terminal phase" } : finding;
}

interface Captured {
  /** Keys that some way to the phase captures. */
  possible: Set<string>;
  /** Keys that every way to the phase captures. */
  certain: Set<string>;
}
const nothing: Captured = { possible: new Set(), certain: new Set() };

/** For every phase: what phases before it captured. A phase captures when it passes. */
function capturedBefore(workflow: Workflow): Map<string, Captured> {
  const byId = new Map(workflow.phases.map((phase) => [phase.id, phase]));
  const all = new Set(workflow.phases.flatMap(captureKeys));
  const before = new Map<string, Captured>();
  const first = workflow.phases[0];
  if (first) before.set(first.id, { possible: new Set(), certain: new Set() });
  const queue = first ? [first] : [];
  for (const phase of queue) {
    const here = before.get(phase.id) ?? nothing;
    const keys = captureKeys(phase);
    for (const { target, success } of targetsOf(phase)) {
      const next = byId.get(target);
      if (!next) continue;
      const possible = new Set([...here.possible, ...keys]);
      const certain = success ? new Set([...here.certain, ...keys]) : here.certain;
      const old = before.get(target) ?? { possible: new Set<string>(), certain: all };
      const merged = {
        possible: new Set([...old.possible, ...possible]),
        certain: new Set([...old.certain].filter((key) => certain.has(key))),
      };
      const changed = !before.has(target) || merged.possible.size > old.possible.size || merged.certain.size < old.certain.size;
      before.set(target, merged);
      if (changed) queue.push(next);
    }
  }
  return before;
}

function captureKeys(phase: FlatPhase): string[] {
  const own = "capture" in phase ? Object.keys(phase.capture ?? {}) : [];
  // A merge leaves the commit it made without being asked.
  return phase.type === "merge" ? [...own, "merged_sha"] : own;
}

function targetsOf(phase: FlatPhase): { target: string; success: boolean }[] {
  if (phase.type === "terminal") return [];
  const failures = phase.type === "wait" ? [] : [phase.onFailure, ...Object.values(phase.on ?? {})];
  const targets = [{ target: phase.onSuccess, success: true }, ...failures.map((target) => ({ target, success: false }))];
  return targets.flatMap(({ target, success }) => (target && target !== retryEdge ? [{ target, success }] : []));
}

interface Samples {
  possible: Variables;
  certain: Variables;
}

function samples(phase: Phase, params: Record<string, string>, captured: Captured): Samples {
  return {
    possible: sampleVariables(phase.id, params, captured.possible),
    certain: sampleVariables(phase.id, params, captured.certain),
  };
}

function sampleVariables(phase: string, params: Record<string, string>, keys: Set<string>): Variables {
  const ticket = TicketFile.parse({
    planId: "sample-plan",
    ticketId: "SAMPLE-1",
    title: "A sample ticket",
    description: "What is to be done.",
    acceptanceCriteria: ["It works", "It is tested"],
    linearUrl: "https://example.invalid/SAMPLE-1",
    repo: "/repo",
    context: Object.fromEntries([...keys].map((key) => [key, `sample ${key}`])),
    feedback: { self_review: "Something to repair." },
  });
  const plan = Plan.parse({ id: "sample-plan", name: "Sample plan" });
  const facts = { phase, skills: "## Skills", agent: "claude", base: "main", baseSha: "0".repeat(40), attempt: 1, params };
  return templateVariables(ticket, plan, resolveTicket(ticket, plan, "/worktrees"), facts);
}

function lintSchema(schema: Record<string, unknown>, path: Path, report: Report): void {
  try {
    schemaType(schema);
  } catch (error) {
    report({
      severity: "error",
      rule: "output-schema",
      path,
      message: `answers cannot be checked against this: ${error instanceof Error ? error.message : String(error)}`,
      fix: "write a JSON Schema that needs no other document",
    });
  }
}

function lintPhase(phase: Phase, path: Path, dirs: LintDirs, sample: Samples, report: Report): void {
  if (phase.type === "script" || phase.type === "poll") {
    lintFileName(phase.command, [...path, "command"], "script", dirs.scriptDirs, report);
    for (const [i, text] of phase.args.entries()) lintText(text, [...path, "args", i], sample, report);
  }
  if (
    phase.type === "agent" &&
    lintFileName(phase.promptTemplate, [...path, "promptTemplate"], "prompt template", dirs.promptDirs, report)
  ) {
    lintTemplate(phase.promptTemplate, [...path, "promptTemplate"], dirs.promptDirs, sample, report);
  }
  if (phase.type === "agent" && phase.skills !== undefined) lintSkills(phase.skills, [...path, "skills"], dirs.skillsDirs, report);
  if (phase.type === "agent" && phase.outputSchema !== undefined) lintSchema(phase.outputSchema, [...path, "outputSchema"], report);
  if ("capture" in phase) {
    for (const [key, capture] of Object.entries(phase.capture ?? {})) {
      const at = [...path, "capture", key];
      if (typeof capture === "string") lintShell(capture, at, report);
      else if (Array.isArray(capture)) lintCommandList(capture, at, sample, report);
    }
  }
  for (const [name, text] of Object.entries(("env" in phase && phase.env) || {})) lintText(text, [...path, "env", name], sample, report);
  if (phase.type === "checks" || phase.type === "merge") {
    for (const [name, command] of Object.entries(phase.commands ?? {})) {
      const at = [...path, "commands", name];
      for (const text of typeof command === "string" ? [command] : command) lintShell(text, at, report);
    }
  }
}

function lintSkills(names: string[], path: Path, dirs: readonly string[], report: Report): void {
  const problems = skillProblems(dirs, names);
  for (const { index, message, fix } of problems)
    report({ severity: "error", rule: "skill", path: [...path, ...(index === undefined ? [] : [index])], message, fix });
}

/** True when the search path holds the file. */
function lintFileName(name: string, path: Path, kind: string, dirs: readonly string[], report: Report): boolean {
  const problem = nameProblem(name);
  if (problem !== undefined) {
    report({
      severity: "error",
      rule: "path-outside",
      path,
      message: `the ${kind} "${name}" is refused: ${problem}`,
      fix: `name a file inside ${dirs.join(" or ")}`,
    });
    return false;
  }
  try {
    if (findInPath(dirs, name, kind) !== undefined) return true;
  } catch (error) {
    report({
      severity: "error",
      rule: "path-outside",
      path,
      message: (error as Error).message,
      fix: "copy the file instead of linking it",
    });
    return false;
  }
  const rule = kind === "script" ? "missing-script" : "missing-template";
  report({
    severity: "error",
    rule,
    path,
    message: `there is no ${kind} "${name}" in ${dirs.join(" or ")}`,
    fix: `create it in ${dirs[0]}, or correct the name`,
  });
  return false;
}

function lintShell(text: string, path: Path, report: Report): void {
  if (!/\{[{%]/.test(text)) return;
  report({
    severity: "error",
    rule: "template-in-shell",
    path,
    message: "a template inside a shell command lets the text of a ticket run as code",
    fix: 'write a capture as a list, [program, "{{ value }}"], or read the environment: "$ORCH_TICKET"',
  });
}

function lintCommandList(command: string[], path: Path, sample: Samples, report: Report): void {
  const shell = /(^|\/)(ba|da|z|k)?sh$/.test(command[0] ?? "");
  const code = shell ? command.findIndex((arg) => /^-[a-z]*c$/.test(arg)) + 1 : 0;
  for (const [i, text] of command.entries()) {
    if (code > 0 && i === code) lintShell(text, [...path, i], report);
    else lintText(text, [...path, i], sample, report);
  }
}

function lintText(text: string, path: Path, sample: Samples, report: Report): void {
  let failed = false;
  const noting: Report = (problem) => {
    failed ||= problem.severity === "error";
    report(problem);
  };
  const found = references(text, "", path, noting);
  if (!found) return;
  lintReferences(found, "", path, sample, new Set(), noting);
  if (!failed) dryRender(() => renderString(text, sample.possible, ""), path, report);
}

function lintTemplate(name: string, path: Path, dirs: readonly string[], sample: Samples, report: Report): void {
  let failed = false;
  const noting: Report = (problem) => {
    failed ||= problem.severity === "error";
    report(problem);
  };
  const seen = new Set<string>();
  const visit = (template: string, locals: Set<string>) => {
    let file: string | undefined;
    try {
      file = findInPath(dirs, template, "prompt template");
      if (file === undefined || seen.has(file)) return;
      seen.add(file);
      const found = references(readTemplate(file), file, path, noting);
      if (!found) return;
      const known = new Set([...locals, ...found.locals]);
      lintReferences(found, file, path, sample, known, noting);
      for (const { name: inner } of found.templates) visit(inner, known);
    } catch (error) {
      noting({ severity: "error", rule: "template-error", path, message: (error as Error).message, fix: "correct the template" });
    }
  };
  visit(name, new Set());
  if (!failed) dryRender(() => renderPrompt(dirs, name, sample.possible), path, report);
}

function references(source: string, file: string, path: Path, report: Report): References | undefined {
  try {
    return templateReferences(source);
  } catch (error) {
    const { message } = templateError(error, file);
    report({ severity: "error", rule: "template-error", path, message, fix: "correct the template" });
    return undefined;
  }
}

function lintReferences(found: References, file: string, path: Path, sample: Samples, locals: Set<string>, report: Report): void {
  for (const read of found.reads) {
    if (read.guarded || locals.has(read.path[0] ?? "")) continue;
    const name = read.path.join(".");
    const where = file === "" ? "" : `${file}:${read.line}: `;
    if (valueAt(sample.possible, read) === undefined) {
      const known = describeVariables(sample.possible);
      const near = didYouMean(name, [
        ...Object.keys(sample.possible),
        ...Object.keys(sample.possible.context as object).map((k) => `context.${k}`),
      ]);
      const fix = `${near === undefined ? "" : `did you mean "${near}"? `}known here: ${known}; put {% if ${name} %} around a value that may be missing`;
      report({ severity: "error", rule: "undefined-variable", path, message: `${where}the variable "${name}" has no value here`, fix });
    } else if (valueAt(sample.certain, read) === undefined) {
      const message = `${where}the variable "${name}" is not captured on every way to this phase`;
      report({ severity: "warning", rule: "maybe-undefined", path, message, fix: `put {% if ${name} %} around it, or capture it earlier` });
    }
  }
}

function dryRender(render: () => string, path: Path, report: Report): void {
  try {
    render();
  } catch (error) {
    report({ severity: "error", rule: "template-error", path, message: (error as Error).message, fix: "correct the template" });
  }
}
