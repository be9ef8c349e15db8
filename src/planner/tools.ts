import * as z from "zod";
import { runningDaemon } from "../daemon/holder.ts";
import type { Config } from "../domain/config.ts";
import { PlanDraft, TicketDraft } from "../domain/draft.ts";
import { UserError } from "../domain/errors.ts";
import { Id } from "../domain/id-schema.ts";
import type { Parks } from "../domain/park.ts";
import { type PlanEdit, PlanFields, TicketChange } from "../domain/plan-edit.ts";
import { instant } from "../domain/time.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import { explain } from "../engine/explain.ts";
import { limitsOf } from "../engine/world.ts";
import { problemsOf } from "../inputs/schema-problems.ts";
import { listWorkflows } from "../inputs/workflows.ts";
import { Unreadable } from "../state/json.ts";
import { readParks } from "../state/parks.ts";
import { planRows } from "../views/rows.ts";
import { changePlan, findPlan } from "./change-plan.ts";
import { inDraft, misfits } from "./check-draft.ts";
import { findRepos } from "./find-repos.ts";
import { findingCounts, findingLines } from "./findings-text.ts";
import { readPlans } from "./read-plans.ts";
import { settleDraft } from "./settle-draft.ts";
import { goingOn, planLine, planText } from "./show-plan.ts";
import type { Bench, PlanTool, ToolAnswer } from "./tool.ts";
import { findingsOf, writePlan } from "./write-plan.ts";

const planId = Id.describe("id of the plan");
const ticketId = Id.describe("id of the ticket");

const createPlan: PlanTool<PlanDraft> = {
  name: "create_plan",
  description:
    "Checks a whole plan and writes it. A person is asked first where there is one; otherwise the plan stays a draft until a person approves it. With errors, or when the person says no, nothing is written.",
  input: PlanDraft,
  readOnly: false,
  async run(draft, bench) {
    const written = await writePlan(draft, bench);
    const lines = findingLines(written.findings);
    switch (written.result) {
      case "refused":
        return refused([`Nothing was written: ${findingCounts(written.findings)}. Mend them and call create_plan again.`, ...lines]);
      case "declined":
        return refused(["declined: the person said no, and nothing was written. Ask what has to change."]);
      case "written": {
        const next =
          written.status === "active"
            ? "It is active: a running daemon takes it up."
            : `It is a draft, and nothing of it runs before a person says: orchestrator plan approve ${written.planId}`;
        return said([`Plan "${written.planId}" is written (${written.dir}). ${next}`, ...lines]);
      }
    }
  },
};

const validatePlan: PlanTool<PlanDraft> = {
  name: "validate_plan",
  description:
    "Checks a whole plan as create_plan does and writes nothing. Errors keep it from being written; warnings say what is doubtful.",
  input: PlanDraft,
  readOnly: true,
  async run(draft, bench) {
    const settled = settleDraft(draft, bench);
    const view = readPlans(bench.config).plans.get(settled.id);
    const findings = await findingsOf(settled, bench, view ? { view } : {});
    const isGood = findings.every(({ severity }) => severity !== "error");
    const known = view ? [`There is a plan "${settled.id}" already: change it with add_ticket, change_ticket and the like.`] : [];
    return { ok: isGood, text: [`${findingCounts(findings)}.`, ...known, ...findingLines(findings)].join("\n") };
  },
};

const showPlan: PlanTool<{ planId: string }> = {
  name: "show_plan",
  description: "Shows a plan with all its tickets: descriptions, acceptance criteria, scopes, what waits for what, and where each stands.",
  input: z.strictObject({ planId }),
  readOnly: true,
  run: async (input, bench) => said([planText(findPlan(bench, input.planId))]),
};

const listPlans: PlanTool<object> = {
  name: "list_plans",
  description: "Lists all plans, each with its status and how many of its tickets are where.",
  input: z.strictObject({}),
  readOnly: true,
  async run(_input, { config }) {
    const rows = planRows(readPlans(config), new Map());
    return said(rows.length === 0 ? ["There are no plans."] : rows.map(planLine));
  },
};

const addTicket: PlanTool<{ planId: string; ticket: TicketDraft }> = {
  name: "add_ticket",
  description: "Adds a ticket to a plan that exists. What it waits for is in its blockedBy; what waits for it is said with add_dependency.",
  input: z.strictObject({ planId, ticket: TicketDraft }),
  readOnly: false,
  run: (input, bench) => change(input.planId, [{ do: "add", ticket: input.ticket }], bench),
};

const changeTicket: PlanTool<{ planId: string; ticketId: string; changes: TicketChange }> = {
  name: "change_ticket",
  description:
    "Changes fields of a ticket; those that are left out stay, null takes a value away. Once a ticket has begun its repo, workflow and branch stand, and it can wait for nothing more.",
  input: z.strictObject({ planId, ticketId, changes: TicketChange }),
  readOnly: false,
  run: (input, bench) => change(input.planId, [{ do: "change", ticketId: input.ticketId, set: input.changes }], bench),
};

const changePlanFields: PlanTool<{ planId: string; changes: PlanFields }> = {
  name: "change_plan",
  description:
    "Changes fields of a plan itself: name, goal, limits, defaults of its tickets. Those that are left out stay, null takes a value away.",
  input: z.strictObject({ planId, changes: PlanFields }),
  readOnly: false,
  run: (input, bench) => change(input.planId, [{ do: "plan", set: input.changes }], bench),
};

const removeTicket: PlanTool<{ planId: string; ticketId: string }> = {
  name: "remove_ticket",
  description: "Takes a ticket off a plan that has not begun and that no other ticket waits for.",
  input: z.strictObject({ planId, ticketId }),
  readOnly: false,
  run: (input, bench) => change(input.planId, [{ do: "remove", ticketId: input.ticketId }], bench),
};

interface Dependency {
  planId: string;
  ticketId: string;
  blockedBy: string;
}

const dependency = z.strictObject({ planId, ticketId, blockedBy: Id.describe("id of the ticket that has to be done first") });

const addDependency: PlanTool<Dependency> = {
  name: "add_dependency",
  description: "Makes a ticket wait until another one of its plan is done.",
  input: dependency,
  readOnly: false,
  run: (input, bench) => change(input.planId, [{ do: "depend", ticketId: input.ticketId, on: input.blockedBy }], bench),
};

const removeDependency: PlanTool<Dependency> = {
  name: "remove_dependency",
  description: "Lets a ticket no longer wait for another one.",
  input: dependency,
  readOnly: false,
  run: (input, bench) => change(input.planId, [{ do: "undepend", ticketId: input.ticketId, on: input.blockedBy }], bench),
};

const listWorkflowsTool: PlanTool<object> = {
  name: "list_workflows",
  description: "Lists the workflows that plans and tickets can name, with what each is for.",
  input: z.strictObject({}),
  readOnly: true,
  async run(_input, { config }) {
    const listed = listWorkflows(config.workflowDirs, { check: checkWorkflow });
    return said(
      listed.map(({ name, description, findings }) => {
        const broken = findings.some(({ severity }) => severity === "error") ? " [has errors, cannot be used]" : "";
        return `${name}${broken}: ${description.replace(/\s+/g, " ").trim() || "(no description)"}`;
      }),
    );
  },
};

const listRepositories: PlanTool<object> = {
  name: "list_repositories",
  description: "Lists the git repositories around and below the folder of this session, and those of plans.",
  input: z.strictObject({}),
  readOnly: true,
  async run(_input, { config, cwd }) {
    const found = findRepos(cwd, config);
    if (found.length === 0) return said([`There is no git repository in, around or below ${cwd}. Ask for the path.`]);
    return said(found.map(({ path, plans }) => `${path}${plans.length > 0 ? ` (plans: ${plans.join(", ")})` : ""}`));
  },
};

const listAgents: PlanTool<object> = {
  name: "list_agents",
  description: "Lists the coding agents that plans and tickets can name. Where nobody names one, the default works.",
  input: z.strictObject({}),
  readOnly: true,
  async run(_input, { config }) {
    const parks = parksOf(config);
    return said(
      Object.entries(config.agents).map(([name, { model, account }]) => {
        const waits = parks.get(account ?? name);
        const facts = [
          ...(name === config.defaultAgent ? ["the default"] : []),
          ...(model === undefined ? [] : [`model ${model}`]),
          ...(waits ? [`waits for its provider: ${waits.reason}`] : []),
        ];
        return `${name}${facts.length > 0 ? ` (${facts.join("; ")})` : ""}`;
      }),
    );
  },
};

const askPerson: PlanTool<{ question: string; choices: string[] }> = {
  name: "ask_person",
  description:
    "Asks the person one question and gives the answer. Choices are offered where there are any; the person may answer otherwise.",
  input: z.strictObject({
    question: z.string().min(1),
    choices: z.array(z.string().min(1)).max(9).default([]),
  }),
  readOnly: true,
  async run({ question, choices }, { person }) {
    if (!person) return refused(["Nobody is there to be asked. Decide what can be decided, and say what is left open."]);
    const answer = await person.ask(question, choices);
    return answer === undefined ? refused(["The person did not answer the question."]) : said([answer]);
  },
};

const status: PlanTool<{ planId?: string | undefined }> = {
  name: "status",
  description: "Tells what is going on: whether a daemon works, and for every ticket that is not done where it is and what it waits for.",
  input: z.strictObject({ planId: planId.optional() }),
  readOnly: true,
  async run(input, bench) {
    const { config } = bench;
    const world = readPlans(config);
    const daemon = runningDaemon(config.home);
    const facts = { now: instant(Date.now()), daemonRuns: daemon !== undefined };
    const limits = limitsOf(config, undefined, parksOf(config));
    const views = input.planId === undefined ? [...world.plans.values()] : [findPlan(bench, input.planId)];
    const lines = views.flatMap((view) =>
      goingOn(view, (id) => {
        const reason = explain(world, view.plan.id, id, limits, facts).find(({ code }) => code !== "daemon_off");
        return reason && `${reason.message}${reason.command === undefined ? "" : ` -> ${reason.command}`}`;
      }),
    );
    const broken = input.planId === undefined ? [...world.brokenPlans].map(([id, reason]) => `${id} [unreadable] ${reason}`) : [];
    const works = daemon ? `A daemon is running since ${daemon.since}.` : "No daemon is running, so nothing is worked: orchestrator daemon";
    return said([works, ...(lines.length + broken.length === 0 ? ["There are no plans."] : lines), ...broken]);
  },
};

/** Everything that a planner can do, whatever agent it is. Run them with `runTool`. */
export const planTools: readonly PlanTool[] = [
  createPlan,
  validatePlan,
  showPlan,
  listPlans,
  addTicket,
  changeTicket,
  changePlanFields,
  removeTicket,
  addDependency,
  removeDependency,
  listWorkflowsTool,
  listRepositories,
  listAgents,
  askPerson,
  status,
] as readonly PlanTool[];

/**
 * Runs a tool on what an agent sent, whatever that is: input that does not fit, and what a person could mend, come back as
 * answers with `ok: false`. Throws for bugs alone.
 */
export async function runTool(tool: PlanTool, input: unknown, bench: Bench): Promise<ToolAnswer> {
  const parsed = tool.input.safeParse(input);
  if (!parsed.success) {
    const findings = tool.input === PlanDraft ? misfits(input) : problemsOf(tool.input, input, parsed.error.issues).map(inDraft(input));
    return refused([`The input does not fit: ${findingCounts(findings)}. Nothing was done.`, ...findingLines(findings)]);
  }
  try {
    return await tool.run(parsed.data, bench);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return refused([error.message, ...(error.hint === undefined ? [] : [`  fix: ${error.hint}`])]);
  }
}

async function change(id: string, edits: readonly PlanEdit[], bench: Bench): Promise<ToolAnswer> {
  const { result, message, findings } = await changePlan(id, edits, bench);
  return {
    ok: result === "changed" || result === "unchanged" || result === "queued",
    text: [message, ...findingLines(findings)].join("\n"),
  };
}

/** Which agents wait; what cannot be read of that is no planner's concern. */
function parksOf({ stateDir }: Config): Parks {
  try {
    return readParks(stateDir);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return new Map();
  }
}

function said(lines: readonly string[]): ToolAnswer {
  return { ok: true, text: lines.join("\n") };
}

function refused(lines: readonly string[]): ToolAnswer {
  return { ok: false, text: lines.join("\n") };
}
