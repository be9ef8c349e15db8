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
    const base = await resolveBase(repo, configured.replace(/^refs\/heads\/|^refs\/remotes\/origin\/|^origin\//, ""));
    if (base) return base;
    throw new UserError(`The base branch ${configured} does not exist in ${repo.path}.`, {
      hint: "correct baseBranch, or fetch the branch",
      exit: "notFound",
    });
  }
  const remoteDefault = await symbolicTarget(repo, "refs/remotes/origin/HEAD");
  const candidates = [remoteDefault?.slice("refs/remotes/origin/".length), ...(await unambiguousNames(repo))];
  for (const name of candidates) {
    const base = name === undefined ? undefined : await resolveBase(repo, name);
    if (base) return base;
  }
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

async function unambiguousNames(repo: Repo): Promise<(string | undefined)[]> {
  const listed = await gitText(repo, ["for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes/origin"]);
  const names = listed.split("\n").map((ref) => ref.replace(/^refs\/heads\/|^refs\/remotes\/origin\//, ""));
  // Branches of ours come and go; they must not change the answer.
  const branches = [...new Set(names)].filter((name) => name !== "HEAD" && !/^orch(estrator)?\//.test(name));
  const usual = branches.filter((name) => name === "main" || name === "master");
  const checkedOut = await symbolicTarget(repo, "HEAD");
  return [
    usual.length === 1 ? usual[0] : undefined,
    branches.length === 1 ? branches[0] : undefined,
    checkedOut?.slice("refs/heads/".length),
  ];
}

async function resolveBase(repo: Repo, name: string): Promise<Base | undefined> {
  const local = { name, ref: `refs/heads/${name}`, sha: await commitOf(repo, `refs/heads/${name}`) };
  const remote = { name, ref: `refs/remotes/origin/${name}`, sha: await commitOf(repo, `refs/remotes/origin/${name}`) };
  if (local.sha === null) return remote.sha === null ? undefined : { ...remote, sha: remote.sha };
  if (remote.sha !== null && remote.sha !== local.sha && (await isAncestor(repo, local.sha, remote.sha)))
    return { ...remote, sha: remote.sha };
  return { ...local, sha: local.sha };
}

async function symbolicTarget(repo: Repo, ref: string): Promise<string | undefined> {
  const { code, stdout } = await git(repo, ["symbolic-ref", "--quiet", ref], { okCodes: [0, 1, 128] });
  return code === 0 ? stdout.trim() : undefined;
}
