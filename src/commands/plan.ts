import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import type { Context } from "../app.ts";
import { sendOrApply } from "../daemon/send-intent.ts";
import type { PlanDraft } from "../domain/draft.ts";
import { type Finding, UserError } from "../domain/errors.ts";
import { type PlanView, planStatus } from "../engine/world.ts";
import { printable } from "../lib/printable.ts";
import { withTempDir } from "../lib/temp-dir.ts";
import { type Applied, applyDraft } from "../planner/apply-draft.ts";
import { findPlan } from "../planner/change-plan.ts";
import type { Place } from "../planner/check-draft.ts";
import { planDraftOf } from "../planner/plan-draft.ts";
import { settleDraft } from "../planner/settle-draft.ts";
import { planText } from "../planner/show-plan.ts";
import type { Bench } from "../planner/tool.ts";
import { findingsOf, writePlan } from "../planner/write-plan.ts";
import { keptEditFile, planFile, ticketFile } from "../state/layout.ts";
import { planGraph } from "../views/plan-graph.ts";
import { ticketRow } from "../views/rows.ts";
import { benchOf } from "./bench.ts";
import type { CommandModule, Ending } from "./command.ts";
import { isPlanId, readDraft, readInput } from "./draft-file.ts";
import { carryOut, userOf } from "./intents.ts";
import { counted, printData, printLine } from "./print.ts";
import { countText, findingsEnding, printFindings } from "./workflow.ts";

interface Options {
  json?: boolean;
  yes?: boolean;
  strict?: boolean;
  failed?: boolean;
  format?: "text" | "mermaid" | "dot";
}

/** `plan new <file|->` */
export const create: CommandModule = {
  async run(context: Context, [name = "-"]: string[], options: Options): Promise<Ending> {
    const bench = benchOf(context, await context.config(), { approved: options.yes ?? false });
    const { value, findings, place } = readDraft(await readInput(context, name));
    const written = value ? await writePlan(value, bench, place) : { result: "refused" as const, findings };
    if (options.json) printData(context, written);
    switch (written.result) {
      case "refused":
        if (!options.json) printFindings(context, written.findings);
        context.say(`nothing was written: ${countText(written.findings)}`);
        return written.findings.every(({ severity, rule }) => severity === "warning" || rule === "plan-exists") ? "conflict" : "invalid";
      case "declined":
        context.say("nothing was written");
        return "failed";
      case "written": {
        if (options.json) return "ok";
        printFindings(context, written.findings);
        const next = written.status === "active" ? "" : `; it is a draft until somebody says: orchestrator plan approve ${written.planId}`;
        printLine(context, `Plan "${written.planId}" is written to ${written.dir}${next}`);
        return "ok";
      }
    }
  },
};

/** `plan show <plan>` */
export const show: CommandModule = {
  async run(context: Context, [planId = ""]: string[], options: Options): Promise<Ending> {
    const view = findPlan(benchOf(context, await context.config(), { approved: false }), planId);
    if (!options.json) {
      printLine(context, printable(planText(view)));
      return "ok";
    }
    const statuses = view.plan.tickets.map(({ ticketId }) => [ticketId, ticketRow(view, ticketId).status]);
    printData(context, { status: planStatus(view), plan: planDraftOf(view), tickets: Object.fromEntries(statuses) });
    return "ok";
  },
};

/** `plan lint <file|plan>` */
export const lint: CommandModule = {
  async run(context: Context, [name = "-"]: string[], options: Options): Promise<Ending> {
    const bench = benchOf(context, await context.config(), { approved: false });
    const findings = isPlanId(name) ? await findingsOfPlan(findPlan(bench, name), bench) : await findingsOfFile(context, name, bench);
    if (options.json) printData(context, { findings });
    else {
      printFindings(context, findings);
      context.say(countText(findings));
    }
    return findingsEnding(findings, options);
  },
};

async function findingsOfFile(context: Context, name: string, bench: Bench): Promise<Finding[]> {
  const { value, findings, place } = readDraft(await readInput(context, name));
  return value ? findingsOf(settleDraft(value, bench), bench, { place }) : findings;
}

/** What has ended is as it is. */
async function findingsOfPlan(view: PlanView, bench: Bench): Promise<Finding[]> {
  const draft = planDraftOf(view);
  const { stateDir } = bench.config;
  const findings = await findingsOf(draft, bench, { view, place: placeOnDisk(view, draft, stateDir) });
  const fileOf = (ticketId: string) => ticketFile(stateDir, view.plan.id, ticketId);
  const ended = [...view.tickets.values()].filter(({ activity }) => activity.state === "finished");
  const files = new Set(ended.map(({ ticketId }) => fileOf(ticketId)));
  const broken = [...view.broken].map(([id, problem]): Finding => {
    const file = fileOf(id);
    return { severity: "error", rule: "ticket", file, message: problem.startsWith(`${file}:`) ? problem.slice(file.length + 1) : problem };
  });
  return [...broken, ...findings.filter(({ file }) => !files.has(file))];
}

/** The files that a draft of a plan on disk comes from. */
function placeOnDisk({ plan }: PlanView, draft: PlanDraft, stateDir: string): Place {
  return ({ path: [first, i, ...rest], other: _, ...problem }) => {
    const ticket = first === "tickets" && typeof i === "number" ? draft.tickets[i] : undefined;
    if (!ticket || rest[0] === "blockedBy") {
      const field = ticket ? `tickets (${ticket.id}).blockedBy` : String(first);
      return { ...problem, file: planFile(stateDir, plan.id), field };
    }
    const [field = "", at] = rest;
    return { ...problem, file: ticketFile(stateDir, plan.id, ticket.id), field: at === undefined ? String(field) : `${field}[${at}]` };
  };
}

/** `plan apply <file|->` */
export const apply: CommandModule = {
  async run(context: Context, [name = "-"]: string[], options: Options): Promise<Ending> {
    const bench = benchOf(context, await context.config(), { approved: options.yes ?? false });
    const { value, findings, place } = readDraft(await readInput(context, name));
    if (value) return tellApplied(context, await applyDraft(value, bench, { place }), options);
    return tellApplied(context, refusedText(findings), options);
  },
};

function refusedText(findings: Finding[]): Applied {
  const none = { added: [], changed: [], removed: [], left: [], missing: [] };
  return { result: "refused", planId: "", message: "Nothing was changed.", ...none, findings };
}

function tellApplied(context: Context, applied: Applied, options: Options): Ending {
  const { result, message, left, missing, findings, planId } = applied;
  if (options.json) printData(context, applied);
  else {
    printFindings(context, findings);
    printLine(context, printable(message));
    for (const { ticketId, reason } of left) printLine(context, printable(`${ticketId} was left alone: ${reason}`));
    if (missing.length > 0)
      printLine(context, `not in the draft, and left alone: ${missing.join(", ")} (orchestrator ticket remove ${planId} …)`);
  }
  return endingOf(result, findings);
}

/** How a command ends that was to change a plan. */
export function endingOf(result: Applied["result"], findings: readonly Finding[]): Ending {
  switch (result) {
    case "written":
    case "changed":
    case "unchanged":
      return "ok";
    case "queued":
      return "tryLater";
    case "declined":
      return "failed";
    case "refused":
      return findings.some(({ severity, rule }) => severity === "error" && rule !== "edit") ? "invalid" : "conflict";
  }
}

/** `plan approve <plan>` */
export const approve: CommandModule = {
  async run(context: Context, [planId = ""]: string[], options: Options): Promise<Ending> {
    const config = await context.config();
    const bench = benchOf(context, config, { approved: true });
    const findings = await findingsOfPlan(findPlan(bench, planId), bench);
    const errors = findings.filter(({ severity }) => severity === "error");
    if (errors.length > 0) {
      if (options.json) printData(context, { result: "refused", planId, findings });
      else printFindings(context, errors);
      context.say(`plan "${planId}" was not approved: ${countText(errors)}`);
      return "invalid";
    }
    return send(context, { type: "approve-plan", planId, by: userOf(context) }, options);
  },
};

/** `plan archive <plan>` */
export const archive: CommandModule = {
  async run(context: Context, [planId = ""]: string[], options: Options): Promise<Ending> {
    const bench = benchOf(context, await context.config(), { approved: true });
    findPlan(bench, planId);
    return send(context, { type: "archive-plan", planId, by: userOf(context), failed: options.failed ?? false }, options);
  },
};

async function send(context: Context, intent: Parameters<typeof carryOut>[2], { json }: Options): Promise<Ending> {
  const config = await context.config();
  if (!json) return carryOut(context, config, intent);
  const answer = await sendOrApply({ ...context, config }, intent);
  if (answer?.result === "refused") throw new UserError(answer.message, { hint: answer.hint, exit: "conflict" });
  printData(context, answer ?? { result: "queued", message: "The daemon has not answered." });
  return answer ? "ok" : "tryLater";
}

/** `plan graph <file|plan>` */
export const graph: CommandModule = {
  async run(context: Context, [name = ""]: string[], options: Options): Promise<Ending> {
    const bench = benchOf(context, await context.config(), { approved: false });
    const { id, nodes } = isPlanId(name) ? nodesOf(findPlan(bench, name)) : await nodesOfFile(context, name);
    if (options.json) printData(context, { planId: id, tickets: nodes });
    else context.stdout.write(printable(planGraph(id, nodes, options.format ?? "text")));
    return "ok";
  },
};

function nodesOf(view: PlanView) {
  const nodes = view.plan.tickets
    .toSorted((a, b) => a.order - b.order)
    .map(({ ticketId: id, blockedBy }) => {
      const { title, status } = ticketRow(view, id);
      return { id, title, status, blockedBy };
    });
  return { id: view.plan.id, nodes };
}

async function nodesOfFile(context: Context, name: string) {
  const { value, findings } = readDraft(await readInput(context, name));
  if (value) return { id: value.id, nodes: value.tickets.map(({ id, title, blockedBy }) => ({ id, title, blockedBy })) };
  printFindings(context, findings);
  throw new UserError(`${name} holds no plan that can be drawn.`, { hint: `orchestrator plan lint ${name}`, exit: "invalid" });
}

/** `plan edit <plan>` */
export const edit: CommandModule = {
  async run(context: Context, [planId = ""]: string[], options: Options): Promise<Ending> {
    const bench = benchOf(context, await context.config(), { approved: true });
    const view = findPlan(bench, planId);
    const before = draftText(view);
    const text = await withTempDir("orchestrator-edit-", (dir) => editedText(context, join(dir, `${planId}.yaml`), before));
    if (text === before) {
      if (options.json) printData(context, { result: "unchanged", planId });
      else printLine(context, "Nothing was changed.");
      return "ok";
    }
    // What somebody has written is not thrown away for a mistake in it.
    const file = keptEditFile(bench.config.home, planId);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, text, { mode: 0o600 });
    const { value, findings } = readDraft({ text, file });
    if (value && value.id !== planId) {
      throw new UserError(`A plan keeps its id: "${planId}" cannot become "${value.id}".`, {
        hint: `your text is kept: ${file}`,
        exit: "usage",
      });
    }
    const applied = value ? await applyDraft(value, bench, { editOf: view }) : refusedText(findings);
    if (applied.result === "refused") context.say(`your text is kept: ${file}`);
    else rmSync(file);
    return tellApplied(context, applied, options);
  },
};

/** A plan as a person edits it. */
function draftText(view: PlanView): string {
  const { tickets, ...fields } = planDraftOf(view);
  const full = (value: unknown) => value !== "" && !(Array.isArray(value) && value.length === 0);
  const lean = (holder: object) => Object.fromEntries(Object.entries(holder).filter(([, value]) => full(value)));
  const head = [
    `# Plan "${view.plan.id}", ${counted(tickets.length, "ticket")}. Saved and closed, it becomes the plan; what is taken out is taken away.`,
    "# Tickets that have begun stay in their repository, workflow and branch, and cannot be taken out.",
    ...[...view.broken].map(([id, problem]) => `# ${id} is not right: ${problem.replace(/\s+/g, " ")}`),
  ];
  return `${head.join("\n")}\n${stringify({ ...lean(fields), tickets: tickets.map(lean) }, { lineWidth: 0 })}`;
}

/** What a person makes of a text. Throws a UserError when the editor ends with an error: whoever leaves it so wants nothing to be done. */
async function editedText({ env, cwd }: Context, file: string, text: string): Promise<string> {
  writeFileSync(file, text, { mode: 0o600 });
  const editor = env.VISUAL || env.EDITOR || "vi";
  const child = spawn("/bin/sh", ["-c", `${editor} "$1"`, "sh", file], { cwd, env: { ...env }, stdio: "inherit" });
  const code = await new Promise<number | null>((done, fail) => child.once("error", fail).once("exit", done));
  if (code === 0) return readFileSync(file, "utf8");
  throw new UserError(`The editor (${editor}) ended with ${code ?? "a signal"}, so nothing was changed.`, {
    hint: "set EDITOR to the program that you edit with",
  });
}
