/** Everything that the loopback GitHub knows. Tests read and change it at will. */
export interface GithubState {
  /** Login of whoever holds `token`. */
  viewer: string;
  token: string;
  /** By `owner/name`. */
  repositories: Map<string, RepositoryState>;
}

interface RepositoryState {
  owner: string;
  name: string;
  /** By number. */
  issues: Map<number, IssueState>;
  /** Its organisation wants more than this sign-in. */
  forbidden?: true;
}

export interface IssueState {
  number: number;
  title: string;
  body: string;
  state: "OPEN" | "CLOSED";
  stateReason: "COMPLETED" | "NOT_PLANNED" | "REOPENED" | null;
  labels: string[];
  milestone: string | null;
  /** `owner/name#12` of issues that have to be done first. */
  blockedBy: string[];
  comments: CommentState[];
}

interface CommentState {
  id: string;
  author: string;
  body: string;
}

/** A GitHub with an empty repository, `acme/widgets`. */
export function githubState(): GithubState {
  const state: GithubState = { viewer: "octocat", token: "gho_loopback", repositories: new Map() };
  addRepository(state, "acme/widgets");
  return state;
}

/** Adds a repository without issues. */
export function addRepository(state: GithubState, nameWithOwner: string, fields: Pick<RepositoryState, "forbidden"> = {}): void {
  const [owner = "", name = ""] = nameWithOwner.split("/");
  state.repositories.set(nameWithOwner, { owner, name, issues: new Map(), ...fields });
}

/** Adds an issue to a repository that exists; the next number is free unless another is given. */
export function addIssue(state: GithubState, issue: Partial<IssueState> = {}, repository = "acme/widgets"): IssueState {
  const issues = state.repositories.get(repository)?.issues;
  if (!issues) throw new Error(`there is no repository ${repository}`);
  const number = issue.number ?? Math.max(0, ...issues.keys()) + 1;
  const defaults = { title: `Issue ${number}`, body: "", stateReason: null, labels: [], milestone: null, blockedBy: [], comments: [] };
  const added: IssueState = { state: "OPEN", ...structuredClone(defaults), ...issue, number };
  issues.set(number, added);
  return added;
}

/** The issue called `owner/name#12`, with its repository. */
export function findIssue(state: GithubState, id: string): { repository: RepositoryState; issue: IssueState } | undefined {
  const [nameWithOwner = "", number] = id.split("#");
  const repository = state.repositories.get(nameWithOwner);
  const issue = repository?.issues.get(Number(number));
  return repository && issue ? { repository, issue } : undefined;
}
