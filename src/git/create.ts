import { execa } from "execa";
import { git, gitText, type Repo } from "./git.ts";
import { type Author, identityEnv } from "./identity.ts";

/** Makes a folder of files a repository whose branch main holds them in one commit. */
export async function createRepository(path: string, message: string, author: Author): Promise<void> {
  await execa("git", ["init", "--quiet", "--initial-branch=main", path]);
  const gitDir = `${path}/.git`;
  const repo = { gitDir, commonDir: gitDir, workTree: path };
  await git(repo, ["add", "--all"]);
  await git(repo, ["commit", "--quiet", "--no-verify", "--message", message], { env: await identityEnv(repo, author) });
}

/** The history of a branch as git draws it, a line a commit, without colour. */
export async function historyGraph(repo: Repo, ref: string): Promise<string> {
  return gitText(repo, ["log", "--graph", "--oneline", "--no-color", "--end-of-options", ref]);
}
