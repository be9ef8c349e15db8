import { blockerCycles } from "../domain/blocker-cycles.ts";
import { PlanDraft, type TicketDraft } from "../domain/draft.ts";
import { didYouMean, type Finding, type Problem } from "../domain/errors.ts";
import { caseFold } from "../domain/ids.ts";
import { problemsOf } from "../inputs/schema-problems.ts";
import { fieldName } from "../inputs/yaml-text.ts";
import { longestText } from "../state/to-ticket.ts";

/** Why something cannot be used, and what to do about it. */
export interface Trouble {
  message: string;
  fix?: string;
}

/** What a draft is checked against; `draftFacts()` finds it out. */
export interface DraftFacts {
  /** Every workflow by name; a text says why it cannot be used. */
  workflows: ReadonlyMap<string, Trouble | undefined>;
  agents: readonly string[];
  /** Ids that a new plan may not have, each with the folder that has it. */
  plans: ReadonlyMap<string, string>;
  /** Repositories by the path that the draft names: what tells two paths of one apart from two of different ones, or what is wrong. */
  repos: ReadonlyMap<string, { id: string } | Trouble>;
  /** Branches that git cannot make, by `branchKey`. */
  branches: ReadonlyMap<string, Trouble>;
  /** Branches of open tickets of other plans, by `branchKey`: which ticket has it. */
  takenBranches: ReadonlyMap<string, string>;
  /** Skills that tickets name and cannot be given, by name; and what is too much for a prompt, by `skillsKey`. */
  skills?: ReadonlyMap<string, Trouble>;
  /** Tickets of the plan that the draft lacks because their files cannot be read. */
  unread?: readonly string[];
  /** Why worktrees cannot be kept where the draft says. */
  worktreeRoot?: Trouble;
  /** Why work cannot begin from the branch that the draft names. */
  baseBranch?: Trouble;
}

/** Gives a finding its place; the default names the field alone. */
export type Place = (problem: Problem) => Finding;

/** Names skills that are given together. */
export function skillsKey(names: readonly string[]): string {
  return names.join("\n");
}

/** Names a branch of a repository, whatever path leads there. */
export function branchKey(repoId: string, branch: string): string {
  return `${repoId}\n${branch}`;
}

/**
 * Everything that keeps a draft from being a plan that can run; all of it are errors.
 * `place` joins file and line where the draft was read from a text. Never throws for what the draft holds.
 */
export function checkDraft(draft: unknown, facts: DraftFacts, place: Place = inDraft(draft)): Finding[] {
  const parsed = PlanDraft.safeParse(draft);
  if (!parsed.success) return misfits(draft, place);
  return [...planProblems(parsed.data, facts), ...ticketProblems(parsed.data, facts)].map(place);
}

/** Why a value is no draft at all. `place` as for checkDraft(). */
export function misfits(value: unknown, place: Place = inDraft(value)): Finding[] {
  const issues = PlanDraft.safeParse(value).error?.issues ?? [];
  return [...problemsOf(PlanDraft, value, issues), ...roughProblems(value)].map(place);
}

/** Places problems by field, or as `place` does, and by the ticket's id where one is concerned. */
export function inDraft(draft: unknown, place: Place = byField): Place {
  const tickets = (draft as { tickets?: unknown } | null | undefined)?.tickets;
  return (problem) => {
    const [first, i] = problem.path;
    const id: unknown = first === "tickets" && typeof i === "number" && Array.isArray(tickets) ? tickets[i]?.id : undefined;
    return place(typeof id === "string" ? { ...problem, message: `ticket "${id}": ${problem.message}` } : problem);
  };
}

function byField({ path, other: _, ...rest }: Problem): Finding {
  return { ...rest, file: "draft", field: fieldName(path) };
}

/** A wrong type somewhere is no reason to hide that tickets block each other in a circle elsewhere. */
function roughProblems(draft: unknown): Problem[] {
  const tickets = (draft as { tickets?: unknown } | null | undefined)?.tickets;
  if (!Array.isArray(tickets)) return [];
  const rough = tickets.map((ticket: { id?: unknown; blockedBy?: unknown } | null, i) => ({
    id: typeof ticket?.id === "string" ? ticket.id : `#${i}`,
    blockedBy: Array.isArray(ticket?.blockedBy) ? ticket.blockedBy.filter((id) => typeof id === "string") : [],
  }));
  return graphProblems(rough);
}

function planProblems(draft: PlanDraft, facts: DraftFacts): Problem[] {
  const problems: Problem[] = [...textProblems(draft, [])];
  for (const [id, folder] of facts.plans) {
    if (caseFold(id) !== caseFold(draft.id)) continue;
    const message = `there is a plan "${id}" already (${folder})`;
    problems.push(error("plan-exists", ["id"], message, "choose another id, or change that plan instead"));
  }
  if (draft.agent !== undefined) problems.push(...agentProblems(draft.agent, ["agent"], facts));
  if (draft.repo !== undefined) problems.push(...repoProblems(draft.repo, ["repo"], facts));
  if (draft.workflow !== undefined) problems.push(...workflowProblems(draft.workflow, ["workflow"], facts));
  for (const field of ["worktreeRoot", "baseBranch"] as const) {
    const trouble = facts[field];
    if (trouble) problems.push(error(field === "baseBranch" ? "base" : "worktree", [field], trouble.message, trouble.fix));
  }
  return problems;
}

function ticketProblems(draft: PlanDraft, facts: DraftFacts): Problem[] {
  const problems = graphProblems(draft.tickets, facts.unread);
  for (const [i, ticket] of draft.tickets.entries()) {
    const at = (field: keyof TicketDraft) => ["tickets", i, field];
    problems.push(...textProblems(ticket, ["tickets", i]));
    if (ticket.agent !== undefined) problems.push(...agentProblems(ticket.agent, at("agent"), facts));
    problems.push(...skillProblems(ticket.skills ?? [], at("skills"), facts));
    if (ticket.repo !== undefined) problems.push(...repoProblems(ticket.repo, at("repo"), facts));
    else if (draft.repo === undefined) {
      problems.push(
        error("no-repo", at("repo"), "neither the ticket nor the plan names a repository", "set repo of the plan to an absolute path"),
      );
    }
    if (ticket.workflow !== undefined) problems.push(...workflowProblems(ticket.workflow, at("workflow"), facts));
    else if (draft.workflow === undefined) {
      const names = usable(facts).join(", ");
      problems.push(
        error(
          "no-workflow",
          at("workflow"),
          "neither the ticket nor the plan names a workflow",
          `set workflow of the plan to one of ${names}`,
        ),
      );
    }
  }
  return [...problems, ...branchProblems(draft, facts)];
}

function skillProblems(names: readonly string[], path: Problem["path"], { skills }: DraftFacts): Problem[] {
  const problems = names.flatMap((name, i) => {
    const trouble = skills?.get(name);
    return trouble ? [error("skill", [...path, i], trouble.message, trouble.fix)] : [];
  });
  const together = problems.length > 0 ? undefined : skills?.get(skillsKey(names));
  return together ? [error("skill", path, together.message, together.fix)] : problems;
}

/** What is wrong with ids and blockers, from these alone. `others` are tickets of the plan, too. */
function graphProblems(tickets: readonly Pick<TicketDraft, "id" | "blockedBy">[], others: readonly string[] = []): Problem[] {
  const problems: Problem[] = [];
  const first = new Map<string, number>();
  for (const [i, { id }] of tickets.entries()) {
    const known = first.get(caseFold(id));
    if (known === undefined) first.set(caseFold(id), i);
    else {
      const twin = tickets[known]?.id;
      const message = twin === id ? `the id "${id}" is there twice` : `the ids "${twin}" and "${id}" differ only in case`;
      problems.push({
        ...error("duplicate-id", ["tickets", i, "id"], message, "give each ticket an id of its own"),
        other: ["tickets", known, "id"],
      });
    }
  }
  const ids = tickets.map(({ id }) => id);
  for (const [i, { blockedBy }] of tickets.entries()) {
    for (const [j, id] of blockedBy.entries()) {
      if (ids.includes(id) || others.includes(id)) continue;
      const near = didYouMean(id, ids);
      const fix = near === undefined ? `name a ticket of this plan (${some(ids)}), or leave it out` : `did you mean "${near}"?`;
      problems.push(error("unknown-blocker", ["tickets", i, "blockedBy", j], `is blocked by "${id}", which the plan does not have`, fix));
    }
  }
  for (const cycle of blockerCycles(tickets.map(({ id, blockedBy }) => ({ ticketId: id, blockedBy })))) {
    const i = ids.indexOf(cycle[0] ?? "");
    const message = `tickets wait for each other in a circle: ${cycle.join(" -> ")}`;
    const fix = `take one step out: for example "${cycle[1]}" from blockedBy of "${cycle[0]}"`;
    problems.push(error("cycle", ["tickets", i, "blockedBy"], message, fix));
  }
  return problems;
}

function branchProblems(draft: PlanDraft, { repos, branches, takenBranches }: DraftFacts): Problem[] {
  const problems: Problem[] = [];
  const first = new Map<string, number>();
  for (const [i, ticket] of draft.tickets.entries()) {
    const found = repos.get(ticket.repo ?? draft.repo ?? "");
    if (!found || !("id" in found)) continue;
    const branch = ticket.branch ?? defaultBranch(draft.id, ticket.id);
    const key = branchKey(found.id, branch);
    const path = ["tickets", i, "branch"];
    const trouble = branches.get(key);
    if (trouble) problems.push(error("branch", path, trouble.message, trouble.fix));
    const known = first.get(key);
    const holder = known === undefined ? takenBranches.get(key) : draft.tickets[known]?.id;
    if (known === undefined) first.set(key, i);
    if (holder === undefined) continue;
    const message = `${holder} has the branch "${branch}", too`;
    problems.push(error("duplicate-branch", path, message, ownBranch));
  }
  for (const [key, i] of first) {
    // Git keeps branches as files in folders: `a` and `a/b` would be file and folder of one name.
    const steps = key.split("/");
    const holder = steps.map((_, n) => first.get(steps.slice(0, n).join("/"))).find((n) => n !== undefined);
    if (holder === undefined) continue;
    const message = `git cannot keep the branch "${key.split("\n")[1]}" beside that of ${draft.tickets[holder]?.id}`;
    problems.push(error("duplicate-branch", ["tickets", i, "branch"], message, ownBranch));
  }
  return problems;
}

const ownBranch = "give each ticket a branch of its own, or leave branch out";

/** The branch of a ticket that names none. */
function defaultBranch(planId: string, ticketId: string): string {
  return `orch/${planId}/${ticketId}`;
}

function agentProblems(agent: string, path: Problem["path"], { agents }: DraftFacts): Problem[] {
  if (agents.includes(agent)) return [];
  const near = didYouMean(agent, agents);
  const fix = near === undefined ? `use one of ${agents.join(", ")}, or leave it out` : `did you mean "${near}"?`;
  return [error("unknown-agent", path, `there is no agent "${agent}" in the configuration`, fix)];
}

function repoProblems(repo: string, path: Problem["path"], { repos }: DraftFacts): Problem[] {
  const found = repos.get(repo);
  if (found === undefined || "id" in found) return [];
  return [error("repo", path, found.message, found.fix)];
}

function workflowProblems(name: string, path: Problem["path"], facts: DraftFacts): Problem[] {
  if (!facts.workflows.has(name)) {
    const near = didYouMean(name, facts.workflows.keys());
    const fix = near === undefined ? `use one of ${usable(facts).join(", ")}` : `did you mean "${near}"?`;
    return [error("unknown-workflow", path, `there is no workflow "${name}"`, fix)];
  }
  const trouble = facts.workflows.get(name);
  return trouble ? [error("broken-workflow", path, trouble.message, trouble.fix)] : [];
}

function usable({ workflows }: DraftFacts): string[] {
  return [...workflows].flatMap(([name, trouble]) => (trouble ? [] : [name]));
}

/** Texts end up in files of a bounded size, in environments and in prompts. */
function textProblems(holder: object, path: Problem["path"]): Problem[] {
  return Object.entries(holder).flatMap(([field, value]) => {
    const words = typeof value === "string" ? value : Array.isArray(value) ? value.filter((item) => typeof item === "string").join("") : "";
    const at = [...path, field];
    if (words.includes("\0")) return [error("nul", at, "holds a NUL character", "remove it: no program can be given one")];
    if (words.length <= longestText) return [];
    const message = `${words.length} characters are more than the ${longestText} allowed`;
    return [error("too-long", at, message, "keep it in a file of the repository, and name that file here")];
  });
}

function some(ids: readonly string[]): string {
  return ids.length > 8 ? `${ids.slice(0, 8).join(", ")} …` : ids.join(", ");
}

function error(rule: string, path: Problem["path"], message: string, fix?: string): Problem {
  return { severity: "error", rule, path, message, ...(fix === undefined ? {} : { fix }) };
}
