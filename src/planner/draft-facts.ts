import { isAbsolute } from "node:path";
import { currentWorkflow } from "../daemon/plan-workflow.ts";
import type { PlanDraft } from "../domain/draft.ts";
import { UserError } from "../domain/errors.ts";
import { resolveTicket } from "../domain/ticket.ts";
import { checkWorkflow } from "../engine/check-workflow.ts";
import type { PlanView } from "../engine/world.ts";
import { detectBase } from "../git/base.ts";
import { openRepo, type Repo } from "../git/git.ts";
import { checkBranchName, checkNameIsFree } from "../git/refs.ts";
import { checkWorktreePath, checkWorktreeRoot } from "../git/worktree-place.ts";
import { skillProblems } from "../inputs/skills.ts";
import { listWorkflows } from "../inputs/workflows.ts";
import { takenPlanIds } from "../state/new-plan.ts";
import { branchKey, type DraftFacts, skillsKey, type Trouble } from "./check-draft.ts";
import { readPlans } from "./read-plans.ts";
import type { Bench } from "./tool.ts";

/**
 * Finds out what a draft has to be checked against: workflows, repositories, branches, other plans. Of a plan that is on
 * disk as `view`, neither its id nor its own tickets are in its way.
 */
export async function draftFacts(draft: PlanDraft, { config }: Bench, view?: PlanView): Promise<DraftFacts> {
  const { opened, repos } = await openRepos(draft);
  const named = draft.tickets.flatMap(({ repo = draft.repo, branch }) => {
    const found = opened.get(repo ?? "");
    return branch === undefined || found === undefined ? [] : [{ repo: found, branch }];
  });
  const branches = new Map<string, Trouble>();
  for (const { repo, branch } of named) {
    const trouble = await troubleOf(async () => {
      await checkBranchName(repo, branch);
      await checkNameIsFree(repo, branch);
    });
    if (trouble) branches.set(branchKey(repo.commonDir, branch), trouble);
  }
  const worktreeRoot = await worktreeTrouble(draft, [...opened.values()]);
  const baseBranch = await baseTrouble(draft, [...opened.values()]);
  return {
    workflows: workflowFacts(draft, config),
    skills: skillFacts(draft, config),
    agents: Object.keys(config.agents),
    plans: view ? new Map() : takenPlanIds(config.stateDir),
    ...(view ? { unread: view.plan.tickets.map(({ ticketId }) => ticketId).filter((id) => !view.tickets.has(id)) } : {}),
    repos,
    branches,
    takenBranches: await takenBranches(draft, config, new Set(named.map(({ branch }) => branch))),
    ...(worktreeRoot === undefined ? {} : { worktreeRoot }),
    ...(baseBranch === undefined ? {} : { baseBranch }),
  };
}

/** The repositories that a draft names, by the path it names them by. */
async function openRepos(draft: PlanDraft): Promise<{ opened: Map<string, Repo>; repos: Map<string, { id: string } | Trouble> }> {
  const opened = new Map<string, Repo>();
  const repos = new Map<string, { id: string } | Trouble>();
  for (const path of new Set([draft.repo, ...draft.tickets.map(({ repo }) => repo)])) {
    if (path === undefined) continue;
    const trouble = await troubleOf(async () => {
      if (!isAbsolute(path)) throw new UserError(`${path} is not an absolute path.`, { hint: "write the whole path, from / on" });
      opened.set(path, await openRepo(path));
    });
    const repo = opened.get(path);
    if (trouble) repos.set(path, trouble);
    else if (repo) repos.set(path, { id: repo.commonDir });
  }
  return { opened, repos };
}

function workflowFacts(draft: PlanDraft, config: Bench["config"]): DraftFacts["workflows"] {
  const named = new Set([draft.workflow, ...draft.tickets.map(({ workflow }) => workflow)]);
  const listed = listWorkflows(config.workflowDirs, { check: checkWorkflow });
  return new Map(
    listed.map(({ name, findings }) => {
      const isBroken = findings.some(({ severity }) => severity === "error");
      if (!named.has(name)) return [name, isBroken ? { message: `Workflow "${name}" has errors.` } : undefined];
      const current = currentWorkflow(config, name);
      return [
        name,
        typeof current === "string" ? { message: current, fix: `orchestrator workflow lint ${name} shows all; mend it` } : undefined,
      ];
    }),
  );
}

/** Skills that a draft names and that nobody can be given; lists of them that are too long, by `skillsKey`. */
export function skillFacts({ tickets }: PlanDraft, { skillsDirs }: Bench["config"]): Map<string, Trouble> {
  const lists = new Map(tickets.map(({ skills = [] }) => [skillsKey(skills), skills]));
  return new Map(
    [...lists].flatMap(([key, names]) =>
      skillProblems(skillsDirs, names).map(({ index, message, fix }): [string, Trouble] => {
        const name = index === undefined ? undefined : names[index];
        return [name ?? key, { message, fix }];
      }),
    ),
  );
}

/** Which open tickets of other plans have one of these branches. */
async function takenBranches(draft: PlanDraft, config: Bench["config"], branches: ReadonlySet<string>): Promise<Map<string, string>> {
  const taken = new Map<string, string>();
  if (branches.size === 0) return taken;
  for (const view of readPlans(config).plans.values()) {
    if (view.plan.id === draft.id) continue;
    for (const ticket of view.tickets.values()) {
      const { repo, branch } = resolveTicket(ticket, view.plan, config.worktreeRoot);
      if (ticket.activity.state === "finished" || repo === null || !branches.has(branch)) continue;
      const opened = await openRepo(repo).catch(() => undefined);
      if (opened) taken.set(branchKey(opened.commonDir, branch), `ticket ${view.plan.id}/${ticket.ticketId}`);
    }
  }
  return taken;
}

async function worktreeTrouble({ id, worktreeRoot }: PlanDraft, repos: readonly Repo[]): Promise<Trouble | undefined> {
  if (worktreeRoot === undefined) return undefined;
  return troubleOf(async () => {
    checkWorktreeRoot(worktreeRoot, `${worktreeRoot}/${id}`);
    for (const repo of repos) await checkWorktreePath(repo, `${worktreeRoot}/ticket`);
  });
}

async function baseTrouble({ baseBranch }: PlanDraft, repos: readonly Repo[]): Promise<Trouble | undefined> {
  if (baseBranch === undefined) return undefined;
  return troubleOf(async () => {
    for (const repo of repos) await detectBase(repo, baseBranch);
  });
}

async function troubleOf(check: () => Promise<unknown>): Promise<Trouble | undefined> {
  try {
    await check();
    return undefined;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { message: error.message, ...(error.hint === undefined ? {} : { fix: error.hint }) };
  }
}
