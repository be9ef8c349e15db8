import { UserError } from "../domain/errors.ts";
import { commitOf, git, gitText, type Repo } from "./git.ts";
import { isAncestor } from "./refs.ts";

/** The branch that finished work is meant for. */
export interface Base {
  /** Its name without prefix, e.g. "main". */
  name: string;
  /** The ref that holds its newest known state: the local branch, or the remote one when that is strictly ahead. */
  ref: string;
  sha: string;
}

/**
 * The base branch of a repository: the configured one, the remote's default, main or master if only one exists, the only branch,
 * else the branch that is checked out. Needs no remote and no clean tree. Throws UserError when nothing decides.
 */
export async function detectBase(repo: Repo, configured?: string): Promise<Base> {
  if (configured) {
    const name = configured.replace(/^refs\/heads\/|^refs\/remotes\/origin\/|^origin\//, "");
    const base = await newest(repo, name, await listBranches(repo, `refs/heads/${name}`, `refs/remotes/origin/${name}`));
    if (base) return base;
    throw new UserError(`The base branch ${configured} does not exist in ${repo.path}.`, {
      hint: "correct baseBranch, or fetch the branch",
      exit: "notFound",
    });
  }
  const branches = await listBranches(repo, "refs/heads", "refs/remotes/origin");
  const remoteDefault = branches.get("refs/remotes/origin/HEAD")?.leadsTo.slice("refs/remotes/origin/".length);
  const named = [remoteDefault, ...unambiguousNames(branches)];
  for (const name of named) {
    const base = name ? await newest(repo, name, branches) : undefined;
    if (base) return base;
  }
  const checkedOut = (await symbolicTarget(repo, "HEAD"))?.slice("refs/heads/".length);
  const base = checkedOut ? await newest(repo, checkedOut, branches) : undefined;
  if (base) return base;
  throw new UserError(`Cannot tell which branch of ${repo.path} is the base branch.`, {
    hint: "set baseBranch in the plan",
    exit: "invalid",
  });
}

/** The name of the branch on which finished work is gathered. */
export function integrationRef(base: Pick<Base, "name">): string {
  return `refs/heads/orchestrator/${base.name}`;
}

/** The commit where new ticket branches start: the integration branch when it has work that the base lacks, else the base. */
export async function startPoint(repo: Repo, base: Base): Promise<string> {
  const integration = await commitOf(repo, integrationRef(base));
  return integration === null || (await isAncestor(repo, integration, base.sha)) ? base.sha : integration;
}

/** Full name of a ref → its commit, and the ref that it stands for where it is a symbolic one. */
type Branches = ReadonlyMap<string, { sha: string; leadsTo: string }>;

async function listBranches(repo: Repo, ...patterns: string[]): Promise<Branches> {
  const listed = await gitText(repo, ["for-each-ref", "--format=%(refname) %(objectname) %(symref)", ...patterns]);
  const lines = listed.split("\n").map((line) => line.split(" "));
  return new Map(lines.map(([name = "", sha = "", leadsTo = ""]) => [name, { sha, leadsTo }]));
}

/** The names that leave no doubt, the usual one first. Branches of ours come and go; they must not change the answer. */
function unambiguousNames(branches: Branches): (string | undefined)[] {
  const names = [...branches.keys()].map((ref) => ref.replace(/^refs\/heads\/|^refs\/remotes\/origin\//, ""));
  const theirs = [...new Set(names)].filter((name) => name !== "HEAD" && !/^orch(estrator)?\//.test(name));
  const usual = theirs.filter((name) => name === "main" || name === "master");
  return [usual.length === 1 ? usual[0] : undefined, theirs.length === 1 ? theirs[0] : undefined];
}

/** The local branch of this name, or the remote one when that is strictly ahead. */
async function newest(repo: Repo, name: string, branches: Branches): Promise<Base | undefined> {
  const [local, remote] = [`refs/heads/${name}`, `refs/remotes/origin/${name}`].map((ref) => {
    const sha = branches.get(ref)?.sha;
    return sha === undefined ? undefined : { name, ref, sha };
  });
  if (local === undefined || remote === undefined || remote.sha === local.sha) return local ?? remote;
  return (await isAncestor(repo, local.sha, remote.sha)) ? remote : local;
}

async function symbolicTarget(repo: Repo, ref: string): Promise<string | undefined> {
  const { code, stdout } = await git(repo, ["symbolic-ref", "--quiet", ref], { okCodes: [0, 1, 128] });
  return code === 0 ? stdout.trim() : undefined;
}
