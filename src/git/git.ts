import { lstat, readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { UserError } from "../domain/errors.ts";
import { runGit } from "./run-git.ts";

/** Where a git command works. Always explicit: git never discovers a repository that somebody else may have planted. */
export interface GitDir {
  /** The `.git` folder of the tree meant: the repository's own, or the one of a linked worktree. */
  gitDir: string;
  /** The `.git` folder that all worktrees of the repository share. */
  commonDir: string;
  /** The tree that commands touching files work on; null or absent when none is meant. */
  workTree?: string | null;
}

/** A repository that a person named. */
export interface Repo extends GitDir {
  /** Top folder of its work tree, or the git folder of a bare repository. */
  path: string;
  workTree: string | null;
  bare: boolean;
}

export interface GitOptions {
  /** Text for its standard input; none means an empty one. */
  input?: string;
  /** Added to the built environment. */
  env?: Record<string, string>;
  /** Exit codes that are answers rather than failures. Default: 0 alone. */
  okCodes?: number[];
  /** Characters of output that are kept; the rest is cut off and git is stopped. Default: more than any repository prints. */
  maxOutput?: number;
}

export interface GitResult {
  stdout: string;
  stderr: string;
  code: number;
  /** The output was longer than `maxOutput`. */
  truncated: boolean;
}

/** git said no. `stderr` is what it said. */
export class GitError extends Error {
  readonly args: string[];
  readonly stderr: string;
  readonly code: number | undefined;
  constructor(args: string[], stderr: string, code: number | undefined) {
    super(`git ${args.join(" ")}: ${stderr.trim() || `exit code ${code}`}`);
    this.name = "GitError";
    this.args = args;
    this.stderr = stderr;
    this.code = code;
  }
}

/**
 * Runs git on a known repository, without hooks, prompts, pagers or background work, and returns what it printed.
 * The user's global and system configuration stays in force: identity, credentials, safe.directory and LFS live there.
 * Throws GitError on any exit code not named in `okCodes`; races with the user's own git are tried again first.
 */
export async function git(repo: GitDir, args: string[], options: GitOptions = {}): Promise<GitResult> {
  await checkCommonDir(repo);
  const where = [`--git-dir=${repo.gitDir}`, ...(repo.workTree ? [`--work-tree=${repo.workTree}`] : [])];
  // Without a work tree git would take the current folder for one, so it is given a folder that holds no files of the project.
  const cwd = repo.workTree ?? repo.commonDir;
  const env = { GIT_COMMON_DIR: repo.commonDir, ...options.env };
  for (let attempt = 1; ; attempt++) {
    try {
      return await run([...where, ...args], cwd, { ...options, env });
    } catch (error) {
      if (!(error instanceof GitError) || attempt > maxRetries || !isRace(error.stderr)) throw error;
      await delay(2 ** attempt * 25 * (0.5 + Math.random()));
    }
  }
}

/** Whether the git folder of a worktree still leads to its repository. Refs come from where its file says, whatever the environment says. */
export async function leadsToCommonDir(repo: GitDir): Promise<boolean> {
  if (repo.gitDir === repo.commonDir) return true;
  const target = await readFile(join(repo.gitDir, "commondir"), "utf8").catch(() => "");
  return target !== "" && resolve(repo.gitDir, target.trim()) === repo.commonDir;
}

async function checkCommonDir(repo: GitDir): Promise<void> {
  if (await leadsToCommonDir(repo)) return;
  throw new UserError(`${join(repo.gitDir, "commondir")} was changed or is gone: it no longer leads to ${repo.commonDir}.`, {
    hint: "retry the ticket: its worktree is then registered properly again",
    exit: "unsafe",
  });
}

/** The repository itself, without any work tree: for commands on commits, refs and worktree registrations. */
export function bareView(repo: GitDir): GitDir {
  return { gitDir: repo.commonDir, commonDir: repo.commonDir };
}

/** The standard output of a git command without its last newline. */
export async function gitText(repo: GitDir, args: string[], options?: GitOptions): Promise<string> {
  return (await git(repo, args, options)).stdout.replace(/\n$/, "");
}

/** The NUL-separated fields that a git command with `-z` prints. */
export async function gitFields(repo: GitDir, args: string[], options?: GitOptions): Promise<string[]> {
  const { stdout } = await git(repo, args, options);
  return stdout.split("\0").filter((field) => field !== "");
}

/** The commit that a name stands for, or null when there is none. */
export async function commitOf(repo: GitDir, name: string): Promise<string | null> {
  const known = await readRef(repo, name);
  if (known !== undefined) return known;
  const { code, stdout } = await git(repo, ["rev-parse", "--verify", "--quiet", "--end-of-options", `${name}^{commit}`], {
    okCodes: [0, 1, 128],
  });
  return code === 0 ? stdout.trim() : null;
}

/**
 * What a branch, or a ref of ours, points to according to its file, which spares a process; null when there is none. Undefined for
 * names and ways of keeping refs that only git can read (gitrepository-layout(5)).
 */
async function readRef({ commonDir }: GitDir, name: string): Promise<string | null | undefined> {
  if (!/^refs\/(heads|orchestrator)\/./.test(name) || /\.\.|[~^:?*[\\]|@\{/.test(name)) return undefined;
  const loose = await textOf(join(commonDir, name), 100);
  if (loose !== null) return loose?.endsWith("\n") ? asCommit(loose.trim()) : undefined;
  if ((await textOf(join(commonDir, "reftable", "tables.list"), longestRefs)) !== null) return undefined;
  const packed = await textOf(join(commonDir, "packed-refs"), longestRefs);
  if (packed === undefined) return undefined;
  const end = packed === null ? -1 : packed.indexOf(` ${name}\n`);
  return packed === null || end < 0 ? null : asCommit(packed.slice(packed.lastIndexOf("\n", end) + 1, end));
}

const longestRefs = 64 * 1024 * 1024;

/** The id of a commit; undefined for anything else, such as what a power cut has left of one. */
function asCommit(text: string): string | undefined {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text) ? text : undefined;
}

/**
 * The text of a file, null when there is none; undefined for what cannot be read, is no file, or longer: an agent may put anything
 * there.
 */
export async function textOf(path: string, maxBytes: number): Promise<string | null | undefined> {
  try {
    const info = await lstat(path);
    if (info.isDirectory()) return null;
    return info.isFile() && info.size <= maxBytes ? await readFile(path, "utf8") : undefined;
  } catch (error) {
    // A file may stand where a folder is looked for: a branch `a` where `a/b` is asked for.
    return ["ENOENT", "ENOTDIR"].includes(String((error as NodeJS.ErrnoException).code)) ? null : undefined;
  }
}

/** Opens the repository that contains a folder. Throws UserError when it is missing, no repository, not trusted or without a commit. */
export async function openRepo(path: string): Promise<Repo> {
  await requireGit();
  const info = await stat(path).catch(() => undefined);
  if (!info)
    throw new UserError(`The repository ${path} does not exist.`, { hint: "correct the path, or clone it there", exit: "notFound" });
  if (!info.isDirectory()) throw new UserError(`The repository ${path} is not a folder.`, { exit: "notFound" });

  const questions = ["--is-bare-repository", "--is-inside-git-dir", "--git-dir", "--git-common-dir", "--show-toplevel"];
  const answers = await discover(path, ["rev-parse", "--path-format=absolute", ...questions]);
  const [bareText, insideGitDir, gitDir, commonDir, topLevel] = answers.split("\n");
  if (!gitDir || !commonDir) throw new Error(`git rev-parse in ${path} answered: ${answers}`);
  const bare = bareText === "true";
  if (!bare && insideGitDir === "true") {
    throw new UserError(`${path} lies inside a .git folder.`, { hint: `name the work tree instead: ${dirname(commonDir)}` });
  }
  const workTree = bare ? null : (topLevel ?? null);
  const repo: Repo = { path: workTree ?? commonDir, gitDir, commonDir, workTree, bare };

  if (!(await hasCommits(repo))) {
    throw new UserError(`The repository ${path} has no commit yet.`, {
      hint: `make a first commit: git -C ${shellWord(path)} commit --allow-empty -m "first commit"`,
    });
  }
  return repo;
}

/** Repositories that were found to have commits: none loses its last one while somebody works with it. */
const begun = new Set<string>();

async function hasCommits(repo: Repo): Promise<boolean> {
  if (begun.has(repo.commonDir)) return true;
  const found =
    (await commitOf(repo, "HEAD")) !== null || (await gitText(repo, ["for-each-ref", "--count=1", "refs/heads", "refs/remotes"])) !== "";
  if (found) begun.add(repo.commonDir);
  return found;
}

/**
 * Asks git about the repository that a person's path lies in. The one place where git discovers. It answers what it can: a
 * bare repository has no top level.
 */
async function discover(path: string, args: string[]): Promise<string> {
  const { stdout, stderr, code } = await run(args, path, { okCodes: [0, 128] });
  if (code === 0 || stdout !== "") return stdout.replace(/\n$/, "");
  const cause = new GitError(args, stderr, code);
  if (stderr.includes("dubious ownership")) {
    const line = /git config --global --add safe\.directory .*/.exec(stderr)?.[0];
    throw new UserError(`The repository ${path} belongs to another user, so git does not trust it.`, {
      hint: `if you trust it: ${line?.trim() ?? `git config --global --add safe.directory ${shellWord(path)}`}`,
      exit: "unsafe",
      cause,
    });
  }
  if (stderr.includes("not a git repository")) {
    throw new UserError(`${path} is not a git repository.`, { hint: "correct the path, or run git init and make a first commit", cause });
  }
  throw cause;
}

const maxRetries = 3;

/** The messages of two git processes that met in one repository. A lost compare-and-swap is an answer, not a race. */
function isRace(stderr: string): boolean {
  return races.some((race) => race.test(stderr));
}

const races = [
  /failed to read .*commondir/,
  /could not lock config file/,
  /did not send all necessary objects|bad object worktrees\//,
  /Unable to create '.*\.lock': File exists/,
];

/** Settings that no configuration file may change for our commands. */
const fixedSettings = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "gc.auto=0",
  "maintenance.auto=false",
  "commit.gpgsign=false",
  "submodule.recurse=false",
  "protocol.ext.allow=never",
  "worktree.useRelativePaths=false",
].flatMap((setting) => ["-c", setting]);

/** Variables of git itself that the user's identity, credentials and network need. Every other GIT_* one would redirect our commands. */
const keptGitVariables =
  /^GIT_(CONFIG_(GLOBAL|SYSTEM|NOSYSTEM)|(AUTHOR|COMMITTER)_(NAME|EMAIL)|SSH|SSH_COMMAND|SSH_VARIANT|SSL_\w+|PROXY_\w+|EXEC_PATH)$/;

function environment(extra: Record<string, string>): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && (!name.startsWith("GIT_") || keptGitVariables.test(name))) env[name] = value;
  }
  return {
    ...env,
    LC_ALL: "C",
    LANGUAGE: "C",
    GIT_TERMINAL_PROMPT: "0",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_LFS_SKIP_SMUDGE: "1",
    // A replacement object would show us other content than the commit that lands.
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_EDITOR: "true",
    GIT_PAGER: "cat",
    ...extra,
  };
}

async function run(args: string[], cwd: string, options: GitOptions): Promise<GitResult> {
  const { input, okCodes = [0], maxOutput } = options;
  const env = environment(options.env ?? {});
  const end = await runGit([...fixedSettings, ...args], { cwd, env, input, maxOutput: maxOutput ?? mostOutput });
  const { stdout, stderr, code, isCut, error } = end;
  if (isCut && maxOutput !== undefined) return { stdout, stderr, code: 0, truncated: true };
  if (isCut) throw new GitError(args, `it printed more than ${mostOutput} characters`, undefined);
  if (code === null) {
    if (error?.code === "ENOENT" && (await stat(cwd).catch(() => undefined))) throw gitMissing();
    throw new GitError(args, stderr.trim() || error?.message || "stopped", undefined);
  }
  if (!okCodes.includes(code)) throw new GitError(args, stderr, code);
  return { stdout, stderr, code, truncated: false };
}

/** Characters: more than any repository prints. */
const mostOutput = 500_000_000;

let versionChecked = false;

async function requireGit(): Promise<void> {
  if (versionChecked) return;
  const { stdout } = await run(["version"], "/", {});
  const [, major, minor] = /(\d+)\.(\d+)/.exec(stdout) ?? [];
  if (Number(major) * 1000 + Number(minor) < 2038) {
    throw new UserError(`${stdout.trim()} is too old.`, { hint: "install git 2.38 or newer" });
  }
  versionChecked = true;
}

function gitMissing(): UserError {
  return new UserError(`git was not found in PATH (${process.env.PATH}).`, { hint: "install git 2.38 or newer" });
}

/** A word as a person can paste it into a shell. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
