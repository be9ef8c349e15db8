import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { TicketDraft } from "../domain/draft.ts";
import { UserError } from "../domain/errors.ts";
import { type PlanEdit, TicketChange } from "../domain/plan-edit.ts";
import { problemsOf } from "../inputs/schema-problems.ts";
import { fieldName } from "../inputs/yaml-text.ts";
import { printable } from "../lib/printable.ts";
import { changePlan } from "../planner/change-plan.ts";
import { benchOf } from "./bench.ts";
import type { CommandModule, Ending } from "./command.ts";
import { readFields, readInput } from "./draft-file.ts";
import { endingOf } from "./plan.ts";
import { printData, printLine } from "./print.ts";
import { printFindings } from "./workflow.ts";
import { readWorld, takePlan, takeTicket } from "./world.ts";

interface Options {
  json?: boolean;
  file?: string;
  title?: string;
  description?: string;
  criterion?: string[];
  scope?: string[];
  after?: string[];
  skill?: string[];
  priority?: string;
  type?: string;
  repo?: string;
  workflow?: string;
  branch?: string;
  agent?: string;
  model?: string;
  budget?: string;
}

/** `ticket add <plan> <ticket>` */
export const add: CommandModule = {
  async run(context: Context, args: string[], options: Options): Promise<Ending> {
    const config = await context.config();
    const [planId = "", id, ...more] = (args[0] ?? "").includes("/") ? [...(args[0] ?? "").split("/"), ...args.slice(1)] : args;
    if (more.length > 0) throw new UserError(`"${more[0]}" is one argument too many.`, { exit: "usage" });
    takePlan(worldOf(config), planId);
    const fields = {
      ...(await fieldsOfFile(context, options, TicketDraft.partial())),
      ...fieldsOf(options),
      ...(id === undefined ? {} : { id }),
    };
    const ticket = checked(TicketDraft, fields);
    return change(context, config, planId, [{ do: "add", ticket }], options);
  },
};

/** `ticket change <plan> <ticket>` */
export const set: CommandModule = {
  async run(context: Context, args: string[], options: Options): Promise<Ending> {
    const config = await context.config();
    const { planId, ticketId } = target(config, args, 0);
    const fields = checked(TicketChange, { ...(await fieldsOfFile(context, options, TicketChange)), ...fieldsOf(options) });
    if (Object.keys(fields).length === 0)
      throw new UserError("What is to be changed?", { hint: "orchestrator ticket change --help", exit: "usage" });
    return change(context, config, planId, [{ do: "change", ticketId, set: fields }], options);
  },
};

/** `ticket remove <plan> <ticket>` */
export const remove: CommandModule = {
  async run(context: Context, args: string[], options: Options): Promise<Ending> {
    const config = await context.config();
    const { planId, ticketId } = target(config, args, 0);
    return change(context, config, planId, [{ do: "remove", ticketId }], options);
  },
};

/** `ticket depend <plan> <ticket> <on>` */
export const depend = dependency("depend");

/** `ticket undepend <plan> <ticket> <on>` */
export const undepend = dependency("undepend");

function dependency(what: "depend" | "undepend"): CommandModule {
  return {
    async run(context: Context, args: string[], options: Options): Promise<Ending> {
      const config = await context.config();
      const { planId, ticketId, rest } = target(config, args, 1);
      const [on] = rest;
      if (on === undefined) {
        throw new UserError("Which other ticket?", {
          hint: `orchestrator ticket ${what} ${planId} ${ticketId} <the one it waits for>`,
          exit: "usage",
        });
      }
      return change(context, config, planId, [{ do: what, ticketId, on }], options);
    },
  };
}

function target(config: Config, args: string[], further: number): ReturnType<typeof takeTicket> {
  const found = takeTicket(worldOf(config), args);
  if (found.rest.length > further) throw new UserError(`"${found.rest.at(-1)}" is one argument too many.`, { exit: "usage" });
  return found;
}

function worldOf(config: Config): ReturnType<typeof readWorld>["world"] {
  const { world, index } = readWorld(config);
  index.close();
  return world;
}

async function change(context: Context, config: Config, planId: string, edits: readonly PlanEdit[], options: Options): Promise<Ending> {
  // Whoever types the command says yes by that.
  const changed = await changePlan(planId, edits, benchOf(context, config, { approved: true }));
  if (options.json) printData(context, { planId, ...changed });
  else {
    printFindings(context, changed.findings);
    printLine(context, printable(changed.message));
  }
  return endingOf(changed.result, changed.findings);
}

type Fields = typeof TicketChange | ReturnType<typeof TicketDraft.partial>;

async function fieldsOfFile(context: Context, { file }: Options, schema: Fields): Promise<object> {
  if (file === undefined) return {};
  const { value, findings } = readFields(await readInput(context, file), schema);
  if (value) return value;
  printFindings(context, findings);
  throw new UserError(`${file} holds no ticket that can be used.`, { exit: "invalid" });
}

/** `none` takes a value away. */
function fieldsOf(options: Options): object {
  const { title, description, criterion, scope, after, skill, priority, type, repo, workflow, branch, agent, model, budget } = options;
  const list = (items: string[] | undefined) => (items?.length === 1 && items[0] === "none" ? [] : items);
  const value = (text: string | undefined) => (text === "none" ? null : text);
  const fields = {
    title,
    description,
    acceptanceCriteria: list(criterion),
    scope: list(scope),
    blockedBy: list(after),
    skills: list(skill),
    ...{ priority: value(priority), type: value(type), repo: value(repo), workflow: value(workflow) },
    ...{ branch: value(branch), agent: value(agent), model: value(model) },
    budgetUsd: budget === undefined || budget === "none" ? value(budget) : Number(budget),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, given]) => given !== undefined));
}

/** Throws a UserError (usage) that names the option or field that does not fit. */
function checked<S extends typeof TicketChange | typeof TicketDraft>(schema: S, fields: object): ReturnType<S["parse"]> {
  const parsed = schema.safeParse(fields);
  if (parsed.success) return parsed.data as ReturnType<S["parse"]>;
  const [problem] = problemsOf(schema, fields, parsed.error.issues);
  throw new UserError(`${fieldName(problem?.path ?? [])}: ${problem?.message}`, { hint: problem?.fix, exit: "usage" });
}
