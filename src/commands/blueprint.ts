import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { stringify } from "yaml";
import type { Context } from "../app.ts";
import { BlueprintFile } from "../domain/blueprint.ts";
import type { Config } from "../domain/config.ts";
import { PlanDraft } from "../domain/draft.ts";
import { UserError } from "../domain/errors.ts";
import { applyBlueprint, blueprintFile, blueprintOf } from "../inputs/blueprints.ts";
import { findingsError, readYamlFile } from "../inputs/yaml-file.ts";
import { findPlan } from "../planner/change-plan.ts";
import { checkBlueprints } from "../planner/check-blueprints.ts";
import { draftSummary } from "../planner/draft-summary.ts";
import { repoAround } from "../planner/find-repos.ts";
import { planDraftOf } from "../planner/plan-draft.ts";
import { settleDraft, usualWorkflow } from "../planner/settle-draft.ts";
import { findingsOf, writePlan } from "../planner/write-plan.ts";
import { benchOf } from "./bench.ts";
import type { CommandModule, Ending } from "./command.ts";
import { isPlanId } from "./draft-file.ts";
import { columns, oneLine, printData, printLine } from "./print.ts";
import { findingsEnding, printFindings } from "./workflow.ts";

/** Lists the blueprints of the search path. */
export const list: CommandModule = {
  async run(context: Context, _args: string[], options: { json?: boolean }): Promise<Ending> {
    const found = checkBlueprints(await context.config()).map(({ sample: _, ...blueprint }) => blueprint);
    if (options.json) {
      printData(context, found);
      return "ok";
    }
    for (const { name, description, params, findings, file, shadows } of found) {
      const broken = findings.some(({ severity }) => severity === "error");
      printLine(context, `${context.style("bold", name)}  ${file}${shadows.length > 0 ? " (instead of the bundled one)" : ""}`);
      printLine(context, `  ${broken ? context.style("red", "broken: orchestrator check") : oneLine(description, 120)}`);
      const rows = Object.entries(params).map(([key, param]) => {
        const value = param.default === undefined ? "required" : `default: ${oneLine(param.default, 60)}`;
        return [`--set ${key}=…`, oneLine(param.description, 60), value];
      });
      for (const line of columns(rows, "    ")) printLine(context, line);
    }
    return "ok";
  },
};

interface ApplyOptions {
  set?: string[];
  id?: string;
  repo?: string;
  workflow?: string;
  dryRun?: boolean;
  json?: boolean;
}

/** Makes the draft of a plan from a blueprint. */
export const apply: CommandModule = {
  async run(context: Context, [name = ""]: string[], options: ApplyOptions): Promise<Ending> {
    const config = await context.config();
    const { id, repo, workflow } = options;
    const instead = { ...(id ? { id } : {}), ...(repo ? { repo } : {}), ...(workflow ? { workflow } : {}) };
    const { draft: made, place } = applyBlueprint(config.blueprintDirs, name, pairs(options.set ?? [], "--set"), instead);
    const here = made.repo === undefined ? repoAround(context.cwd) : undefined;
    const draft = { ...made, ...(here === undefined ? {} : { repo: here }), workflow: made.workflow ?? usualWorkflow };
    // Whoever types this has not seen the plan: it is a draft, and nobody is asked.
    const { person: _, ...bench } = benchOf(context, config, { approved: false });
    const settled = settleDraft(draft, bench);
    if (options.dryRun) {
      const findings = await findingsOf(settled, bench, { place });
      if (options.json) printData(context, { draft: settled, findings });
      else {
        printLine(context, draftSummary(settled, config));
        printFindings(context, findings);
      }
      return findingsEnding(findings, {});
    }
    const written = await writePlan(settled, bench, place);
    if (options.json) printData(context, written);
    else printFindings(context, written.findings);
    if (written.result !== "written") {
      if (!options.json) context.say("Nothing was written.");
      return "invalid";
    }
    if (!options.json) {
      printLine(context, `Draft "${written.planId}" with ${settled.tickets.length} tickets: ${written.dir}`);
      context.say(`\nNext: orchestrator plan show ${written.planId}, then orchestrator plan approve ${written.planId}`);
    }
    return "ok";
  },
};

/** Saves a plan, or the draft of one in a file, as a blueprint. */
export const add: CommandModule = {
  async run(
    context: Context,
    [name = "", from = ""]: string[],
    options: { param?: string[]; force?: boolean; json?: boolean },
  ): Promise<Ending> {
    const config = await context.config();
    const params = pairs(options.param ?? [], "--param");
    const blueprint = blueprintFrom(context, config, { name, from, params });
    const valid = BlueprintFile.shape.name.safeParse(name);
    if (!valid.success) throw new UserError(`"${name}" is no name: ${valid.error.issues[0]?.message}.`, { exit: "usage" });
    const text = JSON.stringify(blueprint.plan);
    const unused = Object.keys(params).find((key) => !text.includes(`{{ params.${key} }}`));
    if (unused !== undefined) {
      throw new UserError(`The plan has ${JSON.stringify(params[unused])} nowhere, so nothing would read --param ${unused}.`, {
        exit: "usage",
        hint: "write the text as the plan has it, or leave the parameter out",
      });
    }
    const file = blueprintFile(config.blueprintDirs, name);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    write(file, stringify(blueprint, { lineWidth: 120 }), options.force ?? false);
    const { findings = [] } = checkBlueprints(config).find((known) => known.name === name) ?? {};
    if (options.json) printData(context, { file, findings });
    else {
      printFindings(context, findings);
      printLine(context, file);
    }
    return findingsEnding(findings, {});
  },
};

interface From {
  name: string;
  from: string;
  params: Record<string, string>;
}

/** What is no plan is a file: a draft, or a blueprint of somebody else. */
function blueprintFrom(context: Context, config: Config, { name, from, params }: From): BlueprintFile {
  if (isPlanId(from)) return blueprintOf(name, planDraftOf(findPlan(benchOf(context, config, { approved: false }), from)), params);
  const file = resolve(context.cwd, from);
  if (!statSync(file, { throwIfNoEntry: false })?.isFile()) throw new UserError(`There is no file ${file}.`, { exit: "notFound" });
  const draft = readYamlFile(file, PlanDraft);
  if (draft.value) return blueprintOf(name, draft.value, params);
  const blueprint = readYamlFile(file, BlueprintFile);
  const isBlueprint = typeof blueprint.raw === "object" && blueprint.raw !== null && "plan" in blueprint.raw;
  if (!isBlueprint) throw findingsError(`${file} is not the draft of a plan:`, draft.findings);
  if (!blueprint.value) throw findingsError(`${file} is not a blueprint:`, blueprint.findings);
  if (Object.keys(params).length === 0) return { ...blueprint.value, name };
  throw new UserError(`${file} is a blueprint already and has its own parameters.`, { exit: "usage", hint: "leave --param out" });
}

function write(file: string, text: string, force: boolean): void {
  try {
    writeFileSync(file, text, { flag: force ? "w" : "wx", mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new UserError(`There is a blueprint ${file} already.`, {
      exit: "conflict",
      hint: "choose another name, or replace it with --force",
    });
  }
}

/** `key=value`, each key once and no value empty. */
function pairs(texts: readonly string[], option: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const text of texts) {
    const [, key, value] = /^([A-Za-z_][A-Za-z0-9_]*)=([\s\S]+)$/.exec(text) ?? [];
    if (key === undefined || value === undefined) {
      throw new UserError(`${option} ${text} is not understood.`, { exit: "usage", hint: `write ${option} <key>=<value>` });
    }
    if (Object.hasOwn(found, key)) throw new UserError(`${option} ${key}= is there twice.`, { exit: "usage" });
    found[key] = value;
  }
  return found;
}
