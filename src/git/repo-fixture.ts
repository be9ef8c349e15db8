import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Points git and HOME of this process at `dir`, so that a test never reads or writes the settings of the person who runs it. */
export function isolateGit(dir: string): void {
  const home = join(dir, "home");
  mkdirSync(home, { recursive: true });
  process.env.HOME = home;
  process.env.GIT_CONFIG_GLOBAL = join(home, "gitconfig");
  process.env.GIT_CONFIG_NOSYSTEM = "1";
  for (const name of ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"]) delete process.env[name];
  writeFileSync(
    join(home, "gitconfig"),
    '[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[protocol "file"]\n\tallow = always\n',
  );
}

/** Runs git the way a person would and returns what it printed. */
export function userGit(cwd: string, ...args: string[]): string {
  return execFileSync("git", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trimEnd();
}

/** Writes files, making their folders. */
export function write(root: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

/** Makes a repository on branch main with one commit and returns its path. */
export function makeRepo(
  path: string,
  files: Record<string, string> = { "a.txt": "a\n", "src/b.txt": "b\n", ".gitignore": "ignored/\n" },
): string {
  mkdirSync(path, { recursive: true });
  userGit(path, "init", "--quiet", "--initial-branch=main");
  commitFiles(path, files, "first");
  return path;
}

/** Commits files in a work tree and returns the commit. */
export function commitFiles(tree: string, files: Record<string, string>, message: string): string {
  write(tree, files);
  userGit(tree, "add", "--all");
  userGit(tree, "commit", "--quiet", "--allow-empty", "-m", message);
  return userGit(tree, "rev-parse", "HEAD");
}

/** Everything of a user's checkout that must never change: files, index, HEAD, stash, configuration, hooks. */
export function checkoutState(repo: string): Record<string, string> {
  const state: Record<string, string> = {};
  for (const path of ["HEAD", "index", "config", "refs/stash", "logs/HEAD", "logs/refs/stash", "ORIG_HEAD", "FETCH_HEAD"]) {
    state[`.git/${path}`] = digest(join(repo, ".git", path));
  }
  return { ...state, ...filesOf(repo) };
}

/** Path → content hash of every file below a folder, `.git` apart. */
export function filesOf(root: string, folder = ""): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.name === ".git") continue;
    if (entry.isDirectory()) Object.assign(found, filesOf(root, path));
    else found[path] = digest(join(root, path));
  }
  return found;
}

function digest(path: string): string {
  const info = lstatSync(path, { throwIfNoEntry: false });
  if (!info) return "absent";
  const content = info.isSymbolicLink() ? readlinkSync(path) : readFileSync(path);
  return `${info.mode.toString(8)} ${createHash("sha256").update(content).digest("hex")}`;
}
