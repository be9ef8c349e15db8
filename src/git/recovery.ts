import { join } from "node:path";
import type { Instant } from "../domain/time.ts";
import { withTempDir } from "../lib/temp-dir.ts";
import { type GitDir, GitError, git, gitFields, gitText } from "./git.ts";
import { identityEnv, ownIdentity } from "./identity.ts";
import { isAncestor, treeOf } from "./refs.ts";

/** A tree that state can be saved from. */
export type Tree = GitDir & { workTree: string };

/** Whom saved state belongs to, and when it was saved. */
export interface RecoveryKey {
  planId: string;
  ticketId: string;
  now: Instant;
}

export interface Recovery {
  ref: string;
  sha: string;
  planId: string;
  ticketId: string;
  at: Instant;
}

const prefix = "refs/orchestrator/recovery";
const snapshotTrailer = "Orchestrator-Recovery: snapshot";

/**
 * Saves the exact state of a worktree (tracked, changed, deleted and untracked files; not ignored ones) as a commit under
 * `refs/orchestrator/recovery/<plan>/<ticket>/<time>`, without touching index or files, and returns the ref.
 * Returns null when there is nothing to lose: no change, and its commits lie in one of `unlessIn` (default: in any branch).
 * Repositories nested in the tree are not part of it.
 */
export async function saveRecovery(tree: Tree, key: RecoveryKey, unlessIn?: string[]): Promise<string | null> {
  const head = await gitText(tree, ["rev-parse", "--verify", "HEAD^{commit}"]);
  const content = await snapshotTree(tree, head);
  if (content !== (await treeOf(tree, head))) return saveCommit(tree, await snapshotCommit(tree, content, head, key), key);
  return (await isKept(tree, head, unlessIn)) ? null : saveCommit(tree, head, key);
}

/** Keeps a commit, and with it its history, under a recovery ref; returns the ref. The same commit is kept once. */
export async function saveCommit(repo: GitDir, sha: string, key: RecoveryKey): Promise<string> {
  const folder = `${prefix}/${refPart(key.planId)}/${refPart(key.ticketId)}`;
  const same = await gitText(repo, ["for-each-ref", "--count=1", `--points-at=${sha}`, "--format=%(refname)", `${folder}/`]);
  if (same !== "") return same;
  const time = key.now.replaceAll(/[-:]/g, "");
  for (let n = 1; ; n++) {
    const ref = `${folder}/${time}${n === 1 ? "" : `-${n}`}`;
    try {
      await git(repo, ["update-ref", "--create-reflog", ref, sha, ""]);
      return ref;
    } catch (error) {
      if (!(error instanceof GitError) || !error.stderr.includes("already exists")) throw error;
    }
  }
}

/** Keeps a commit as saveCommit() does, unless a branch has it; returns the ref, or null when none was needed. */
export async function saveStrayCommit(repo: GitDir, sha: string, key: RecoveryKey): Promise<string | null> {
  return (await isKept(repo, sha, undefined)) ? null : saveCommit(repo, sha, key);
}

/** What has been saved, oldest first; of one plan or one ticket when they are named. */
export async function listRecovery(repo: GitDir, planId?: string, ticketId?: string): Promise<Recovery[]> {
  const parts = [prefix, planId, planId === undefined ? undefined : ticketId].filter((part) => part !== undefined);
  const pattern = `${parts.map((part, i) => (i === 0 ? part : refPart(part))).join("/")}/`;
  const lines = (await gitText(repo, ["for-each-ref", "--format=%(objectname) %(refname)", pattern])).split("\n");
  const found: Recovery[] = [];
  for (const line of lines) {
    const [sha, ref] = line.split(" ");
    const parsed = ref === undefined ? undefined : parseRecoveryRef(ref);
    if (sha && parsed) found.push({ ...parsed, sha });
  }
  return found.sort((a, b) => a.at.localeCompare(b.at) || a.ref.localeCompare(b.ref, "en", { numeric: true }));
}

/** Plan, ticket and time that a recovery ref names; undefined when it is none. */
export function parseRecoveryRef(ref: string): Omit<Recovery, "sha"> | undefined {
  const match = /^refs\/orchestrator\/recovery\/([^/]+)\/([^/]+)\/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)([\d.]+)Z(?:-\d+)?$/.exec(ref);
  if (!match) return undefined;
  const [, plan = "", ticket = "", year, month, day, hour, minute, second] = match;
  const at = `${year}-${month}-${day}T${hour}:${minute}:${second}Z`;
  return { ref, planId: decodeURIComponent(plan), ticketId: decodeURIComponent(ticket), at };
}

/** The two halves of a saved commit: where the branch stood, and what the files held beyond that (null: nothing). */
export async function readRecovery(repo: GitDir, sha: string): Promise<{ head: string; files: string | null }> {
  const message = await gitText(repo, ["show", "--no-patch", "--no-show-signature", "--format=%B", sha]);
  if (!message.split("\n").includes(snapshotTrailer)) return { head: sha, files: null };
  return { head: await gitText(repo, ["rev-parse", "--verify", `${sha}^`]), files: sha };
}

/** Writes the files of a worktree as a tree object, through an index of its own, and returns the object's id. */
export async function snapshotTree(tree: Tree, head: string): Promise<string> {
  return withTempDir("orchestrator-index-", async (folder) => {
    const env = { GIT_INDEX_FILE: join(folder, "index") };
    await git(tree, ["read-tree", head], { env });
    await addAll(tree, env);
    return gitText(tree, ["-c", "core.splitIndex=false", "write-tree"], { env });
  });
}

/**
 * Adds every change of the tree to the index that `env` names, or to its own, and returns the nested repositories that it left out.
 * git would start itself inside a nested repository, under the configuration found there, so none is ever visited; and a
 * pointer to a commit that exists in the nested one alone would be of no use. `found`: the nested ones, where they are known already.
 */
export async function addAll(tree: Tree, env: Record<string, string> = {}, found?: Nested): Promise<string[]> {
  const { untracked, submodules } = found ?? (await nestedRepositories(tree, env));
  const pathspecs = [":(top)", ...[...submodules, ...untracked].map((path) => `:(top,exclude,literal)${path}`)];
  await git(tree, ["-c", "core.safecrlf=false", "add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul"], {
    env,
    input: pathspecs.map((spec) => `${spec}\0`).join(""),
  });
  return untracked;
}

/** Repositories inside a tree: those nobody tracks (their paths end in "/"), and the submodules of the index. And the paths in conflict. */
interface Nested {
  untracked: string[];
  submodules: string[];
  unmerged: string[];
}

/** Looks for the repositories inside a tree. */
export async function nestedRepositories(tree: Tree, env: Record<string, string> = {}): Promise<Nested> {
  const [staged, others] = await Promise.all([
    gitFields(tree, ["ls-files", "-z", "--stage"], { env }),
    gitFields(tree, ["ls-files", "-z", "--others", "--exclude-standard"], { env }),
  ]);
  // <mode> <object> <stage>\t<path>; a stage other than 0 is a side of a conflict.
  const paths = (lines: string[]) => [...new Set(lines.map((line) => line.slice(line.indexOf("\t") + 1)))];
  return {
    untracked: others.filter((path) => path.endsWith("/")),
    submodules: paths(staged.filter((line) => line.startsWith("160000 "))),
    unmerged: paths(staged.filter((line) => /^\d+ \w+ [123]\t/.test(line))),
  };
}

async function snapshotCommit(tree: Tree, content: string, head: string, key: RecoveryKey): Promise<string> {
  const message = `recovery: ${key.planId}/${key.ticketId} at ${key.now}\n\n${snapshotTrailer}\n`;
  const env = { ...(await identityEnv(tree, ownIdentity)), GIT_AUTHOR_DATE: key.now, GIT_COMMITTER_DATE: key.now };
  return gitText(tree, ["commit-tree", content, "-p", head], { env, input: message });
}

async function isKept(repo: GitDir, sha: string, unlessIn: string[] | undefined): Promise<boolean> {
  if (unlessIn === undefined) {
    return (await gitText(repo, ["for-each-ref", "--count=1", `--contains=${sha}`, "refs/heads", "refs/remotes"])) !== "";
  }
  for (const name of unlessIn) if (await isAncestor(repo, sha, name)) return true;
  return false;
}

/** Ids are safe in refs, but for the ending that git keeps for its lock files. */
function refPart(id: string): string {
  return id.replace(/\.lock$/, "%2Elock");
}
