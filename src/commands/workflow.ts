import { statSync } from "node:fs";
import { resolve } from "node:path";
import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { type Finding, formatFindingInFull, UserError } from "../domain/errors.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import { lintWorkflowFile } from "../inputs/lint.ts";
import { type LoadedWorkflow, listWorkflows, loadWorkflow, loadWorkflowFile } from "../inputs/workflows.ts";
import { printable } from "../lib/printable.ts";
import { workflowGraph } from "../views/graph.ts";
import type { CommandModule, Ending } from "./command.ts";
import { columns, counted, oneLine, printData, printLine } from "./print.ts";

const tools = { check: checkWorkflow };

/** Lists the workflows of the search path. */
export const list: CommandModule = {
  async run(context: Context, _args: string[], options: { json?: boolean }): Promise<Ending> {
    const { workflowDirs } = await context.config();
    const found = listWorkflows(workflowDirs, tools);
    if (options.json) {
      printData(context, found);
      return "ok";
    }
    const rows = found.map(({ name, description, findings, file, shadows }) => {
      const broken = findings.some((finding) => finding.severity === "error");
      const about = broken ? context.style("red", `broken: orchestrator workflow lint ${name}`) : oneLine(description, 100);
      return [name, about, `${file}${shadows.length > 0 ? " (instead of the bundled one)" : ""}`];
    });
    for (const line of columns(rows)) printLine(context, line);
    return "ok";
  },
};

/** Prints everything that is known to be wrong with one workflow, or with all. */
export const lint: CommandModule = {
  async run(context: Context, [name]: string[], options: { json?: boolean; strict?: boolean }): Promise<Ending> {
    const config = await context.config();
    const files =
      name === undefined ? listWorkflows(config.workflowDirs, tools).map(({ file }) => file) : [load(context, config, name).file];
    const findings = files.flatMap((file) => lintWorkflowFile(file, config, tools));
    if (options.json) printData(context, { files, findings });
    else {
      printFindings(context, findings);
      context.say(`${counted(files.length, "workflow")} checked: ${countText(findings)}`);
    }
    return findingsEnding(findings, options);
  },
};

/** Draws a workflow. */
export const graph: CommandModule = {
  async run(context: Context, [name = ""]: string[], options: { format?: "text" | "mermaid" | "dot" }): Promise<Ending> {
    const { workflow, findings, file } = load(context, await context.config(), name);
    if (!workflow) {
      const error = findings.find((finding) => finding.severity === "error");
      throw new UserError(`${file} has errors${error ? `: ${formatFindingInFull(error)}` : ""}`, {
        hint: `orchestrator workflow lint ${name}`,
        exit: "invalid",
      });
    }
    context.stdout.write(workflowGraph(workflow, options.format ?? "text"));
    return "ok";
  },
};

/** Findings, one line each. */
export function printFindings(context: Context, findings: readonly Finding[]): void {
  for (const finding of findings) {
    const style = finding.severity === "error" ? "red" : "yellow";
    printLine(context, `${context.style(style, finding.severity)}: ${printable(formatFindingInFull(finding))}`);
  }
}

/** How a command that looks for findings ends: with 8 when one is an error, or any at all is there and it is `strict`. */
export function findingsEnding(findings: readonly Finding[], { strict = false }: { strict?: boolean }): Ending {
  return findings.some(({ severity }) => strict || severity === "error") ? "invalid" : "ok";
}

/** `2 errors, 1 warning`. */
export function countText(findings: readonly Finding[]): string {
  const count = (severity: Finding["severity"]) => counted(findings.filter((finding) => finding.severity === severity).length, severity);
  return `${count("error")}, ${count("warning")}`;
}

/** A name is looked up in the search path; what looks like a path is one. */
function load(context: Context, { workflowDirs }: Config, name: string): LoadedWorkflow {
  const path = resolve(context.cwd, name);
  const isPath = /\.ya?ml$/.test(name) || name.includes("/");
  if (!isPath) return loadWorkflow(name, workflowDirs, tools);
  if (statSync(path, { throwIfNoEntry: false })?.isFile()) return loadWorkflowFile(path, workflowDirs, tools);
  throw new UserError(`There is no file ${path}.`, { exit: "notFound" });
}
