import * as z from "zod";
import { type Finding, UserError } from "../domain/errors.ts";
import { dataOf, dataOfSome, type Gh, ghGraphql, idOf, issuesQuery } from "./gh.ts";
import { writeProgress } from "./github-progress.ts";
import { defaultPatience, insist, type Outcome, type Patience } from "./patience.ts";
import { blockerLines, blockersInTitle } from "./references.ts";
import type { SourceItem, SourceRead, Tracker } from "./tracker.ts";

/** Which issues of which repository, and how GitHub is reached. */
export interface GithubIssuesOptions {
  /** `owner/name`, `host/owner/name`, or the address of the repository. */
  repo: string;
  /** An issue has to carry all of them. */
  labels?: readonly string[];
  /** Title of the milestone. */
  milestone?: string;
  /** Default: open ones. */
  state?: "open" | "closed" | "all";
  /** In the language of GitHub's search, e.g. `assignee:@me no:project`. */
  search?: string;
  /** Closes the issue when its work is done. */
  closeDone?: boolean;
  env: NodeJS.ProcessEnv;
  patience?: Partial<Patience>;
}

/** Issues of a GitHub repository, through gh. Throws UserError for a repository that is not named as one. */
export function githubIssues(options: GithubIssuesOptions): Tracker {
  const { host, owner, name } = parseRepo(options.repo);
  const gh: Gh = { env: options.env, ...(host ? { host } : {}), patience: { ...defaultPatience, ...options.patience } };
  return {
    read: (signal) => read(gh, { ...options, owner, name }, signal),
    writeBack: (progress, signal) => writeProgress(gh, progress, options.closeDone ?? false, signal),
  };
}

function parseRepo(repo: string): { host: string | undefined; owner: string; name: string } {
  const match = /^(?:https?:\/\/|ssh:\/\/git@|git@)?(?:([\w-]+(?:\.[\w-]+)+)[/:])?([\w.-]+)\/([\w.-]+?)(?:\.git)?(?:\/issues)?\/?$/.exec(
    repo.trim(),
  );
  const [, host, owner, name] = match ?? [];
  if (owner && name) return { host, owner, name };
  throw new UserError(`"${repo}" does not name a repository on GitHub.`, {
    hint: "write owner/name, or host/owner/name for a GitHub of your own",
    exit: "usage",
  });
}

interface Wanted extends GithubIssuesOptions {
  owner: string;
  name: string;
}

/** Issues per request: GitHub ends queries that take it more than ten seconds. */
const pageSize = 50;
const smallestPage = 5;
/** GitHub's search shows no more. */
const searchLimit = 1000;

const Named = z.object({ nodes: z.array(z.object({ name: z.string() })) });
const Blocker = z.object({ number: z.number(), state: z.string(), repository: z.object({ nameWithOwner: z.string() }) });
const Issue = z.object({
  number: z.number(),
  title: z.string(),
  body: z.string(),
  url: z.string(),
  state: z.string(),
  stateReason: z.string().nullable(),
  milestone: z.object({ title: z.string() }).nullable(),
  labels: Named.nullable(),
  repository: z.object({ nameWithOwner: z.string() }),
  blockedBy: z.object({ totalCount: z.number(), nodes: z.array(Blocker.nullable()) }).optional(),
});
type Issue = z.infer<typeof Issue>;

const Connection = z.object({
  issueCount: z.number().optional(),
  pageInfo: z.object({ hasNextPage: z.boolean(), endCursor: z.string().nullable() }),
  nodes: z.array(Issue.nullable()),
});
type Connection = z.infer<typeof Connection>;
const Page = z.object({
  repository: z.object({ nameWithOwner: z.string(), issues: z.unknown().optional() }),
  search: z.unknown().optional(),
});

const blockersField = "blockedBy(first: 100) { totalCount nodes { number state repository { nameWithOwner } } }";
const issueFields = `number title body url state stateReason milestone { title } labels(first: 100) { nodes { name } } repository { nameWithOwner }`;

function readQuery(searching: boolean, withBlockers: boolean): string {
  const connection = `${searching ? "issueCount" : ""} pageInfo { hasNextPage endCursor } nodes { ...Item }`;
  const listed = `issues(first: $first, after: $after, states: $states, orderBy: { field: CREATED_AT, direction: ASC }) { ${connection} }`;
  const found = `search(type: ISSUE, query: $search, first: $first, after: $after) { ${connection} }`;
  return `query Issues($owner: String!, $name: String!, $first: Int!, $after: String, ${searching ? "$search: String!" : "$states: [IssueState!]"}) {
    repository(owner: $owner, name: $name) { nameWithOwner ${searching ? "" : listed} }
    ${searching ? found : ""}
  }
  fragment Item on Issue { ${issueFields} ${withBlockers ? blockersField : ""} }`;
}

async function read(gh: Gh, wanted: Wanted, signal: AbortSignal | undefined): Promise<SourceRead> {
  const { place, issues, withBlockers } = await readIssues(gh, wanted, signal);
  const written = new Map([...issues].map(([id, issue]) => [id, issuesBefore(issue)]));
  const unread = [...new Set([...written.values()].flat())].filter((id) => !issues.has(id));
  const open = await openAmong(gh, unread, signal);
  for (const [id, { state }] of issues) if (state === "OPEN") open.add(id);
  const items = [...issues]
    .sort(([, a], [, b]) => a.number - b.number)
    .map(([id, issue]) => itemOf(id, issue, written.get(id)?.filter((other) => other !== id && open.has(other)) ?? []));

  const findings: Finding[] = [];
  const warn = (rule: string, message: string, file = place) => findings.push({ severity: "warning", rule, file, message });
  for (const { url, blockedBy } of issues.values()) {
    const [all, read] = [blockedBy?.totalCount ?? 0, blockedBy?.nodes.length ?? 0];
    if (all > read) warn("too-many-blockers", `it waits for ${all} issues, of which ${read} were read`, url);
  }
  if (!withBlockers) warn("no-dependencies", 'this GitHub does not tell which issue blocks which: only lines like "Depends on #12" count');
  if (items.length === 0) warn("nothing-read", `no issue matches: ${searchText(wanted)}`);
  return { name: wanted.milestone ?? place, items, findings };
}

/** The issues that the words of an issue name as done first. */
function issuesBefore({ title, body, repository }: Issue): string[] {
  const named = [...blockersInTitle(title), ...blockerLines(body)].flatMap(({ references }) => references);
  const ids = named.flatMap((name) => (name.startsWith("#") ? `${repository.nameWithOwner}${name}` : name.includes("#") ? name : []));
  return [...new Set(ids)];
}

/** All issues that were asked for, by their ids. A GitHub that knows no dependencies is asked again without them. */
async function readIssues(gh: Gh, wanted: Wanted, signal: AbortSignal | undefined) {
  const searching = wanted.search !== undefined || wanted.milestone !== undefined || (wanted.labels ?? []).length > 0;
  const states = { open: ["OPEN"], closed: ["CLOSED"], all: ["OPEN", "CLOSED"] }[wanted.state ?? "open"];
  const filter = searching ? { search: searchText(wanted) } : { states };
  const issues = new Map<string, Issue>();
  let place = `${wanted.owner}/${wanted.name}`;
  let first = pageSize;
  let withBlockers = true;

  async function page(after: string | null): Promise<Outcome<Connection>> {
    const variables = { owner: wanted.owner, name: wanted.name, first, after, ...filter };
    const outcome = await ghGraphql(gh, readQuery(searching, withBlockers), variables, signal);
    if ("again" in outcome) {
      if (outcome.tooMuch) first = Math.max(smallestPage, Math.floor(first / 2));
      return outcome;
    }
    if (withBlockers && outcome.value.errors.some(({ message }) => /'blockedBy' doesn't exist/.test(message))) {
      withBlockers = false;
      return page(after);
    }
    const { repository, search } = dataOf(Page, outcome.value, place);
    place = repository.nameWithOwner;
    return { value: Connection.parse(search ?? repository.issues) };
  }

  for (let after: string | null = null; ; ) {
    const { issueCount, nodes, pageInfo }: Connection = await insist(() => page(after), gh.patience, signal);
    if (issueCount !== undefined && issueCount > searchLimit) {
      throw new UserError(`${issueCount} issues of ${place} match, and GitHub's search shows only ${searchLimit}.`, {
        hint: "ask for less: a milestone, one more label, or in the search created:>2026-01-01",
      });
    }
    for (const issue of nodes) if (issue) issues.set(idOf(issue), issue);
    if (!pageInfo.hasNextPage) return { place, issues, withBlockers };
    after = pageInfo.endCursor;
  }
}

/** What is asked for, in the language of GitHub's search. */
function searchText({ owner, name, labels = [], milestone, state = "open", search }: Wanted): string {
  const quoted = (text: string) => `"${text.replaceAll('"', '\\"')}"`;
  const parts = [`repo:${owner}/${name}`, "is:issue", ...labels.map((label) => `label:${quoted(label)}`)];
  if (milestone !== undefined) parts.push(`milestone:${quoted(milestone)}`);
  if (state !== "all") parts.push(`is:${state}`);
  if (search !== undefined) parts.push(search);
  return [...parts, "sort:created-asc"].join(" ");
}

/** Of these issues, those that exist and are open. */
async function openAmong(gh: Gh, ids: readonly string[], signal: AbortSignal | undefined): Promise<Set<string>> {
  const open = new Set<string>();
  for (let at = 0; at < ids.length; at += pageSize) {
    const some = ids.slice(at, at + pageSize);
    const answer = await insist(() => ghGraphql(gh, ...issuesQuery(some, () => "state"), signal), gh.patience, signal);
    const found = dataOfSome(States, answer, "the issues that others name as done first");
    some.forEach((id, i) => {
      if (found[`r${i}`]?.issue?.state === "OPEN") open.add(id);
    });
  }
  return open;
}

const States = z.record(z.string(), z.object({ issue: z.object({ state: z.string() }).nullable() }).nullable());

function itemOf(id: string, issue: Issue, written: readonly string[]): SourceItem {
  const labels = issue.labels?.nodes.map(({ name }) => name) ?? [];
  const blockers = issue.blockedBy?.nodes.flatMap((blocker) => (blocker?.state === "OPEN" ? [idOf(blocker)] : [])) ?? [];
  return {
    source: { kind: "github", id, url: issue.url },
    title: issue.title,
    body: issue.body,
    state: issue.state === "OPEN" ? "open" : issue.stateReason === "NOT_PLANNED" || issue.stateReason === "DUPLICATE" ? "dropped" : "done",
    labels,
    blockedBy: [...new Set([...blockers, ...written])],
    ...(issue.milestone ? { group: issue.milestone.title } : {}),
  };
}
