import { isAbsolute, join } from "node:path";
import type { Config } from "../domain/config.ts";
import { type Finding, UserError } from "../domain/errors.ts";
import { type Resolved, resolveTicket, type Ticket } from "../domain/ticket.ts";
import type { PlanView, World } from "../engine/world.ts";
import { openRepo, type Repo } from "../git/git.ts";
import { checkBranchName, checkNameIsFree } from "../git/refs.ts";
import { checkWorktreePath, checkWorktreeRoot } from "../git/worktree-place.ts";
import { parseJson, readTextFile, Unreadable } from "../state/json.ts";
import { placeOf } from "../state/json-places.ts";
import { planFile, ticketFile } from "../state/layout.ts";

/** A ticket that has not ended, with what holds for it. */
interface Placed {
  view: PlanView;
  ticket: Ticket;
  resolved: Resolved;
}

/** What git was asked already. */
interface Asked {
  repos: Map<string, Opened>;
  /** Repositories of tickets below the configuration's own worktreeRoot: it is the same for all of them. */
  roots: Set<Repo>;
}

/** A repository that can be used, or what is wrong with it. */
type Opened = { repo: Repo } | { problem: UserError };

/** What is wrong with the repositories, branches and worktrees that tickets name, asked of git before any of them starts. */
export async function placeFindings(world: World, config: Config): Promise<Finding[]> {
  const findings: Finding[] = [];
  const asked: Asked = { repos: new Map(), roots: new Set() };
  const taken = new Map<string, Placed>();
  for (const view of world.plans.values()) {
    const found = new Set<string>();
    for (const ticket of view.tickets.values()) {
      if (ticket.activity.state === "finished") continue;
      const placed = { view, ticket, resolved: resolveTicket(ticket, view.plan, config.worktreeRoot) };
      for (const finding of [...(await ofTicket(placed, config, asked)), ...ofOthers(placed, config, taken)]) {
        // What the plan says of all its tickets is said once.
        const key = JSON.stringify(finding);
        if (!found.has(key)) findings.push(finding);
        found.add(key);
      }
    }
  }
  return findings;
}

async function ofTicket(placed: Placed, config: Config, { repos, roots }: Asked): Promise<Finding[]> {
  const { view, ticket, resolved } = placed;
  if (!resolved.repo) return [];
  const opened = repos.get(resolved.repo) ?? (await open(resolved.repo));
  repos.set(resolved.repo, opened);
  if ("problem" in opened) return [finding(placed, config, "repo", opened.problem)];
  const { repo } = opened;
  const findings: Finding[] = [];
  const look = async (field: "branch" | "worktree" | "worktreeRoot", check: () => Promise<unknown>) => {
    const problem = await problemOf(check);
    if (problem) findings.push(finding(placed, config, field, problem));
  };
  const { branch, worktree } = ticket;
  if (branch !== null) {
    await look("branch", async () => {
      await checkBranchName(repo, branch);
      await checkNameIsFree(repo, branch);
    });
  }
  if (worktree !== null) await look("worktree", () => checkWorktreePath(repo, worktree));
  else if (view.plan.worktreeRoot !== null || !roots.has(repo)) {
    if (view.plan.worktreeRoot === null) roots.add(repo);
    await look("worktreeRoot", async () => {
      const { id, worktreeRoot } = view.plan;
      if (worktreeRoot !== null) checkWorktreeRoot(worktreeRoot, join(config.worktreeRoot, id));
      await checkWorktreePath(repo, resolved.worktree);
    });
  }
  return findings;
}

async function open(path: string): Promise<Opened> {
  if (!isAbsolute(path)) return { problem: new UserError(`${path} is not an absolute path.`, { hint: "write the whole path, from / on" }) };
  try {
    return { repo: await openRepo(path) };
  } catch (error) {
    if (error instanceof UserError) return { problem: error };
    throw error;
  }
}

async function problemOf(check: () => Promise<unknown>): Promise<UserError | undefined> {
  try {
    await check();
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

/** Two tickets in one worktree or on one branch never work at once: the later one waits. */
function ofOthers(placed: Placed, config: Config, taken: Map<string, Placed>): Finding[] {
  const { repo, branch, worktree } = placed.resolved;
  const findings: Finding[] = [];
  for (const [field, key, what] of [
    ["branch", `${repo} ${branch}`, `the branch ${branch}`],
    ["worktree", worktree, `the worktree ${worktree}`],
  ] as const) {
    const other = taken.get(`${field} ${key}`);
    taken.set(`${field} ${key}`, other ?? placed);
    if (!other) continue;
    const message = `${other.view.plan.id}/${other.ticket.ticketId} has ${what}, too; whichever starts second waits until the first has ended`;
    const problem = new UserError(message, { hint: `give each ticket a ${field} of its own` });
    findings.push({ ...finding(placed, config, field, problem), severity: "warning", rule: `shared-${field}` });
  }
  return findings;
}

function finding({ view, ticket }: Placed, config: Config, field: string, problem: UserError): Finding {
  const { plan } = view;
  const ofTicket = (ticket as Record<string, unknown>)[field] ?? null;
  const file =
    ofTicket !== null || field === "branch"
      ? ticketFile(config.stateDir, plan.id, ticket.ticketId)
      : field === "worktreeRoot" && plan.worktreeRoot === null
        ? config.file
        : planFile(config.stateDir, plan.id);
  const text = textOf(file) ?? "";
  return {
    severity: "error",
    rule: field === "worktreeRoot" ? "worktree" : field,
    file,
    ...placeOf(text, [field]),
    field,
    message: problem.message,
    ...(problem.hint === undefined ? {} : { fix: problem.hint }),
  };
}

/** The text of a JSON file that can be used; what keeps one from being used has findings of its own. */
export function textOf(file: string): string | undefined {
  try {
    const text = readTextFile(file)?.text;
    if (text !== undefined) parseJson(text, file);
    return text;
  } catch (error) {
    if (error instanceof Unreadable) return undefined;
    throw error;
  }
}
