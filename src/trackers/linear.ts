import * as z from "zod";
import { type Finding, UserError } from "../domain/errors.ts";
import { askLinear, type LinearAccess } from "./linear-client.ts";
import { writeLinearProgress } from "./linear-progress.ts";
import { defaultPatience, insist, type Patience } from "./patience.ts";
import type { SourceItem, SourceRead, Tracker } from "./tracker.ts";

/** Which issues of Linear, and how it is reached. To read, at least one of team, project, cycle and labels has to be given. */
export interface LinearOptions {
  /** Its key (`ENG`) or name. */
  team?: string;
  /** Its name. */
  project?: string;
  /** `active`, `next`, its number or its name. */
  cycle?: string;
  /** An issue has to carry all of them. */
  labels?: readonly string[];
  /** Default: open ones, without those that still wait for triage. */
  state?: "open" | "closed" | "all";
  /** LINEAR_API_KEY: a personal API key or an OAuth token. LINEAR_API_URL: another place than Linear's own. */
  env: NodeJS.ProcessEnv;
  patience?: Partial<Patience>;
}

/** Issues of Linear. Throws UserError without a key. */
export function linear(options: LinearOptions): Tracker {
  const key = options.env.LINEAR_API_KEY?.trim();
  if (!key) {
    throw new UserError("There is no key for Linear.", {
      hint: "make one in Linear under Settings > Security & access > Personal API keys, and set LINEAR_API_KEY to it",
    });
  }
  const access: LinearAccess = {
    url: options.env.LINEAR_API_URL || "https://api.linear.app/graphql",
    key,
    patience: { ...defaultPatience, ...options.patience },
  };
  return {
    read: (signal) => read(access, options, signal),
    writeBack: (progress, signal) => writeLinearProgress(access, progress, signal),
  };
}

/** Issues per request: with what hangs on them, half of what Linear allows one query to cost. */
const pageSize = 50;
const smallestPage = 5;

const openTypes = ["backlog", "unstarted", "started"];
const doneType = "completed";
const droppedTypes = ["canceled", "duplicate"];

const PageInfo = z.object({ hasNextPage: z.boolean(), endCursor: z.string().nullish() });
const Relations = z.object({
  pageInfo: PageInfo,
  nodes: z.array(z.object({ type: z.string(), issue: z.object({ identifier: z.string(), state: z.object({ type: z.string() }) }) })),
});
type Relations = z.infer<typeof Relations>;
const Issue = z.object({
  id: z.string(),
  identifier: z.string(),
  title: z.string(),
  description: z.string().nullish(),
  url: z.string(),
  priority: z.number(),
  state: z.object({ type: z.string() }),
  project: z.object({ name: z.string() }).nullish(),
  cycle: z.object({ number: z.number(), name: z.string().nullish() }).nullish(),
  labels: z.object({ nodes: z.array(z.object({ name: z.string() })) }),
  inverseRelations: Relations,
});
type Issue = z.infer<typeof Issue>;
const Named = z.object({ nodes: z.array(z.object({ name: z.string() })) });
const Page = z.object({
  issues: z.object({ pageInfo: PageInfo, nodes: z.array(Issue) }),
  teams: Named.optional(),
  projects: Named.optional(),
});
type Page = z.infer<typeof Page>;

const relationFields = "pageInfo { hasNextPage endCursor } nodes { type issue { identifier state { type } } }";
const issueFields = `id identifier title description url priority state { type } project { name } cycle { number name }
  labels(first: 20) { nodes { name } } inverseRelations(first: 10) { ${relationFields} }`;

/** Team and project are asked for too: of a name that does not exist, the list of issues says nothing but that it is empty. */
function pageQuery({ team, project }: LinearOptions): string {
  const declared = ["$first: Int!", "$after: String", "$filter: IssueFilter"];
  if (team) declared.push("$team: TeamFilter");
  if (project) declared.push("$project: ProjectFilter");
  return `query Issues(${declared.join(", ")}) {
    issues(first: $first, after: $after, filter: $filter) { pageInfo { hasNextPage endCursor } nodes { ${issueFields} } }
    ${team ? "teams(first: 1, filter: $team) { nodes { name } }" : ""}
    ${project ? "projects(first: 1, filter: $project) { nodes { name } }" : ""}
  }`;
}

const moreRelations = `query Relations($id: String!, $after: String) {
  issue(id: $id) { inverseRelations(first: 50, after: $after) { ${relationFields} } }
}`;
const RelationsOfIssue = z.object({ issue: z.object({ inverseRelations: Relations }) });

async function read(access: LinearAccess, options: LinearOptions, signal: AbortSignal | undefined): Promise<SourceRead> {
  if (!options.team && !options.project && !options.cycle && !options.labels?.length) {
    throw new UserError("Nothing says which issues of Linear are meant.", { hint: "name a team, a project, a cycle or labels" });
  }
  const team = teamFilter(options);
  const project = options.project ? { name: { eqIgnoreCase: options.project } } : undefined;
  const filter = issueFilter(options, team, project);
  const query = pageQuery(options);
  const issues = new Map<string, Issue>();
  let name: string | undefined;
  let first = pageSize;
  for (let after: string | null | undefined = null; ; ) {
    const page: Page = await insist(
      async () => {
        const outcome = await askLinear(access, Page, query, { first, after, filter, team, project }, signal);
        if ("again" in outcome && outcome.tooMuch) first = Math.max(smallestPage, Math.floor(first / 2));
        return outcome;
      },
      access.patience,
      signal,
    );
    name ??= nameOf(page, options);
    for (const issue of page.issues.nodes) issues.set(issue.identifier, issue);
    if (!page.issues.pageInfo.hasNextPage) break;
    after = page.issues.pageInfo.endCursor;
  }
  const items: SourceItem[] = [];
  for (const issue of [...issues.values()].sort(byIdentifier)) items.push(itemOf(issue, await relationsOf(access, issue, signal)));
  const findings: Finding[] = [];
  if (items.length === 0) {
    findings.push({ severity: "warning", rule: "nothing-read", file: "Linear", message: `no issue matches: ${describe(options)}` });
  }
  return { ...(name ? { name } : {}), items, findings };
}

function teamFilter({ team }: LinearOptions) {
  return team ? { or: [{ key: { eqIgnoreCase: team } }, { name: { eqIgnoreCase: team } }] } : undefined;
}

function issueFilter({ cycle, labels = [], state = "open" }: LinearOptions, team: unknown, project: unknown): object {
  const types = { open: { in: openTypes }, closed: { in: [doneType, ...droppedTypes] }, all: undefined }[state];
  return {
    ...(team ? { team } : {}),
    ...(project ? { project } : {}),
    ...(cycle ? { cycle: cycleFilter(cycle) } : {}),
    ...(types ? { state: { type: types } } : {}),
    ...(labels.length > 0 ? { and: labels.map((label) => ({ labels: { some: { name: { eqIgnoreCase: label } } } })) } : {}),
  };
}

function cycleFilter(cycle: string): object {
  if (cycle === "active") return { isActive: { eq: true } };
  if (cycle === "next") return { isNext: { eq: true } };
  return /^\d+$/.test(cycle) ? { number: { eq: Number(cycle) } } : { name: { eqIgnoreCase: cycle } };
}

/** What the plan may be called. Throws UserError for a team or project that Linear does not know. */
function nameOf({ teams, projects }: Page, { team, project, cycle }: LinearOptions): string | undefined {
  const [foundTeam] = teams?.nodes ?? [];
  const [foundProject] = projects?.nodes ?? [];
  const unknown = team && !foundTeam ? `team "${team}"` : project && !foundProject ? `project "${project}"` : undefined;
  if (unknown) {
    throw new UserError(`Linear does not show a ${unknown}.`, {
      hint: "correct the name, or use a key of somebody who is a member there",
      exit: "notFound",
    });
  }
  return foundProject?.name ?? (cycle && foundTeam ? `${foundTeam.name}, cycle ${cycle}` : foundTeam?.name);
}

function describe({ team, project, cycle, labels = [], state = "open" }: LinearOptions): string {
  const parts = { team, project, cycle, labels: labels.join(", "), state };
  return Object.entries(parts)
    .flatMap(([what, value]) => (value ? [`${what} ${value}`] : []))
    .join(", ");
}

/** All relations of an issue to those that point at it, also where they did not fit into the list of issues. */
async function relationsOf(access: LinearAccess, issue: Issue, signal: AbortSignal | undefined): Promise<Relations["nodes"]> {
  const nodes = [...issue.inverseRelations.nodes];
  for (let { pageInfo } = issue.inverseRelations; pageInfo.hasNextPage; ) {
    const variables = { id: issue.id, after: pageInfo.endCursor };
    const more = await insist(() => askLinear(access, RelationsOfIssue, moreRelations, variables, signal), access.patience, signal);
    nodes.push(...more.issue.inverseRelations.nodes);
    pageInfo = more.issue.inverseRelations.pageInfo;
  }
  return nodes;
}

function byIdentifier(a: Issue, b: Issue): number {
  return a.identifier.localeCompare(b.identifier, "en", { numeric: true });
}

/** Linear stores a relation once: `inverseRelations` of type blocks lead to the issues that block this one. */
function itemOf(issue: Issue, relations: Relations["nodes"]): SourceItem {
  const settled = [doneType, ...droppedTypes];
  const blockers = relations.filter(({ type, issue: other }) => type === "blocks" && !settled.includes(other.state.type));
  const priority = ([undefined, "P0", "P1", "P2", "P3"] as const)[issue.priority];
  const group = issue.project?.name ?? (issue.cycle ? (issue.cycle.name ?? `Cycle ${issue.cycle.number}`) : undefined);
  return {
    source: { kind: "linear", id: issue.identifier, url: issue.url },
    title: issue.title,
    body: issue.description ?? "",
    state: issue.state.type === doneType ? "done" : droppedTypes.includes(issue.state.type) ? "dropped" : "open",
    labels: issue.labels.nodes.map(({ name }) => name),
    blockedBy: [...new Set(blockers.map(({ issue: { identifier } }) => identifier))],
    ...(priority ? { priority } : {}),
    ...(group ? { group } : {}),
  };
}
