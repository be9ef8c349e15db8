import type { Context } from "../app.ts";
import { createCosts } from "../daemon/costs.ts";
import type { Config } from "../domain/config.ts";
import type { Finding } from "../domain/errors.ts";
import { instant } from "../domain/time.ts";
import { amountText, budgetsOf } from "../engine/budget.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import { type PlanView, type World, workflowOf } from "../engine/world.ts";
import { loadConfig } from "../inputs/config.ts";
import { lintWorkflowFile } from "../inputs/lint.ts";
import { listSkills, skillProblems } from "../inputs/skills.ts";
import { listWorkflows } from "../inputs/workflows.ts";
import { checkBlueprints } from "../planner/check-blueprints.ts";
import type { Problem } from "../state/json.ts";
import { doubleMembers, placeOf } from "../state/json-places.ts";
import { planFile, ticketFile } from "../state/layout.ts";
import { placeFindings, textOf } from "./check-places.ts";
import type { Ending } from "./command.ts";
import { counted, printData } from "./print.ts";
import { countText, findingsEnding, printFindings } from "./workflow.ts";
import { readWorkflow } from "./workflow-reader.ts";
import { readWorld } from "./world.ts";

const tools = { check: checkWorkflow };

/** Checks everything that people and planners write. */
export async function run(context: Context, _args: string[], options: { json?: boolean; strict?: boolean }): Promise<Ending> {
  const { config, findings: ofConfig } = loadConfig({ explicit: context.configFile, env: context.env, cwd: context.cwd });
  const findings: Finding[] = [...ofConfig];
  const workflows = listWorkflows(config.workflowDirs, tools);
  for (const { file } of workflows) findings.push(...lintWorkflowFile(file, config, tools));
  const skills = listSkills(config.skillsDirs);
  for (const skill of skills) findings.push(...skill.findings);
  const blueprints = checkBlueprints(config);
  for (const blueprint of blueprints) findings.push(...blueprint.findings);
  const { world, index } = readWorld(config, readWorkflow);
  index.close();
  let tickets = 0;
  for (const entry of index.plans.values()) {
    findings.push(...entry.problems.map(asFinding("plan")), ...(entry.twin ? [asFinding("plan")(entry.twin)] : []));
    for (const { problem } of entry.tickets.values()) {
      tickets += 1;
      if (problem) findings.push(asFinding("ticket")(problem));
    }
  }
  for (const view of world.plans.values()) findings.push(...planFindings(view, config), ...doubleFindings(view, config.stateDir));
  findings.push(...capFindings(world, config), ...(await placeFindings(world, config)));
  if (options.json) printData(context, { findings });
  else {
    printFindings(context, findings);
    context.say(
      `${counted(workflows.length, "workflow")}, ${counted(skills.length, "skill")}, ${counted(blueprints.length, "blueprint")}, ${counted(index.plans.size, "plan")}, ${counted(tickets, "ticket")} checked: ${countText(findings)}`,
    );
  }
  return findingsEnding(findings, options);
}

function asFinding(rule: string): (problem: Problem) => Finding {
  return ({ file, line, column, message, hint }) => ({
    severity: "error",
    rule: `unreadable-${rule}`,
    file,
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
    message,
    ...(hint ? { fix: hint } : {}),
  });
}

/** What keeps tickets of a readable plan from ever running. */
function planFindings(view: PlanView, { stateDir, skillsDirs }: Config): Finding[] {
  const { plan } = view;
  const file = planFile(stateDir, plan.id);
  const findings: Finding[] = [];
  for (const ticket of view.tickets.values()) {
    if (ticket.activity.state === "finished") continue;
    const own = { severity: "error" as const, file: ticketFile(stateDir, plan.id, ticket.ticketId) };
    const workflow = workflowOf(view, ticket);
    if (typeof workflow === "string") findings.push({ ...own, rule: "workflow", message: workflow });
    for (const { index, message, fix } of skillProblems(skillsDirs, ticket.skills)) {
      findings.push({ ...own, rule: "skill", field: index === undefined ? "skills" : `skills[${index}]`, message, fix });
    }
    if (!(ticket.repo ?? plan.repo)) {
      findings.push({
        ...own,
        rule: "no-repo",
        field: "repo",
        message: "neither ticket nor plan names a repository",
        fix: `set repo in ${file}`,
      });
    }
  }
  return findings;
}

/** Caps in which not even one run fits: what counts against them would wait for ever. */
function capFindings(world: World, config: Config): Finding[] {
  const costs = createCosts({ config: () => config, world, now: () => instant(Date.now()), log: { warn: () => {} } });
  const budgets = budgetsOf(world, costs.spending());
  const findings = new Map<string, Finding>();
  for (const view of world.plans.values()) {
    const { id } = view.plan;
    for (const ticket of view.tickets.values()) {
      const workflow = workflowOf(view, ticket);
      if (ticket.activity.state === "finished" || typeof workflow === "string") continue;
      for (const phase of workflow.phases) {
        for (const { of, unit, limit, needs } of budgets.tooSmall(view, ticket, phase)) {
          const field = of === "day" ? "budgetUsdPerDay" : unit === "usd" ? "budgetUsd" : "budgetTokens";
          const file =
            of === "day" ? config.file : of === "plan" ? planFile(config.stateDir, id) : ticketFile(config.stateDir, id, ticket.ticketId);
          const need = amountText(needs ?? 0, unit);
          const finding: Finding = {
            severity: "error",
            rule: "budget-too-small",
            file,
            ...(of === "day" ? {} : placeOf(textOf(file) ?? "", [field])),
            field,
            message: `a run of "${phase.id}" is taken to need ${need}, so none ever starts under a cap of ${amountText(limit, unit)}`,
            fix: `raise it to ${need} or more, or lower ${unit === "usd" ? "budgetUsd" : "budgetTokens"} of the phase`,
          };
          findings.set(JSON.stringify(finding), finding);
        }
      }
    }
  }
  return [...findings.values()];
}

/** Members that a file has twice: the last one counts, and the others are gone with the next change. */
function doubleFindings(view: PlanView, stateDir: string): Finding[] {
  const files = [planFile(stateDir, view.plan.id), ...[...view.tickets.keys()].map((id) => ticketFile(stateDir, view.plan.id, id))];
  return files.flatMap((file) => {
    const text = textOf(file);
    const doubles = text === undefined ? [] : doubleMembers(text);
    return doubles.map(({ field, line, column }) => ({
      severity: "warning" as const,
      rule: "duplicate-key",
      file,
      line,
      column,
      field,
      message: "is there twice; the last one counts",
      fix: "remove the others",
    }));
  });
}
